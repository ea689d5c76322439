#include "providers/github/comment.h"

#include <string.h>

enum { PAGE = 100, PAGES_MAX = 10 };

bool comment_is_own(const json_t *object, const char *marker, const char *author)
{
	const char *text = json_get_string(object, "body");
	const char *login = json_get_string(json_get_object(object, "user"), "login");
	size_t len = strlen(marker);
	return text != NULL && login != NULL && strcmp(login, author) == 0 && strncmp(text, marker, len) == 0 &&
	       (text[len] == '\n' || text[len] == '\r');
}

/* *ret_id 0: there is none. */
static int find(const struct rest *g, const struct comment_place *place, const char *marker, const char *author,
                json_int_t *ret_id, bool *ret_later, struct err *err)
{
	*ret_id = 0;
	for (int page = 1; page <= PAGES_MAX && *ret_id == 0; page++) {
		_cleanup_free_ char *paged = xasprintf("%s?per_page=%d&page=%d", place->list, PAGE, page);
		_cleanup_json_ json_t *list = NULL;
		size_t i;
		json_t *comment;
		int r = rest_ask(g, "GET", paged, NULL, place->what, place->permission, &list, ret_later, err);
		if (r < 0)
			return r;
		json_array_foreach(list, i, comment) if (comment_is_own(comment, marker, author)) *ret_id =
			json_get_int(comment, "id", 0);
		if (json_array_size(list) < PAGE)
			break;
	}
	return 0;
}

int comment_put(const struct rest *g, const struct comment_place *place, const char *marker, const char *text,
                bool *ret_later, struct err *err)
{
	_cleanup_free_ char *author = NULL;
	json_int_t id = 0;
	int r = rest_author(g, &author, err);
	if (r < 0 && r != ERR_NOT_FOUND) {
		if (ret_later != NULL)
			*ret_later = true;
		return err_wrap(err, r, "%s", place->what);
	}
	if (r < 0 && err != NULL)
		err_clear(err);
	r = author != NULL ? find(g, place, marker, author, &id, ret_later, err) : 0;
	if (r < 0)
		return r;
	_cleanup_free_ char *one = xasprintf("%s/%lld", place->single, (long long)id);
	_cleanup_json_ json_t *body = json_object();
	json_object_set_new(body, "body", json_stringf("%s\n%s", marker, text));
	return rest_ask(g, id != 0 ? "PATCH" : "POST", id != 0 ? one : place->list, body, place->what,
	                place->permission, NULL, ret_later, err);
}
