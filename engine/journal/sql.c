/* What every database of the journal has in common: values, rows, documents. */
#include "engine/journal/sql.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DOCUMENT = 16 << 20 };

void (*store_after_write)(void);

static size_t take_values(struct sql_value *values, const char *types, va_list args)
{
	size_t count = 0;
	for (; types[count] && count < SQL_VALUES_MAX; count++) {
		values[count] = (struct sql_value){.is_number = types[count] == 'i'};
		if (values[count].is_number)
			values[count].number = va_arg(args, int64_t);
		else
			values[count].text = va_arg(args, const char *);
	}
	return count;
}

int sql_query(struct store *s, struct sql_rows *rows, struct err *err, const char *sql, const char *types, ...)
{
	struct sql_value values[SQL_VALUES_MAX];
	va_list args;
	va_start(args, types);
	size_t count = take_values(values, types, args);
	va_end(args);
	*rows = (struct sql_rows){.store = s, .at = -1};
	return s->type->query(s, sql, values, count, rows, err);
}

int sql_run(struct store *s, struct err *err, const char *sql, const char *types, ...)
{
	_cleanup_rows_ struct sql_rows rows = {.store = s, .at = -1};
	struct sql_value values[SQL_VALUES_MAX];
	va_list args;
	va_start(args, types);
	size_t count = take_values(values, types, args);
	va_end(args);
	int r = s->type->query(s, sql, values, count, &rows, err);
	if (r == 0)
		r = s->type->next(&rows, err);
	return MIN(r, 0);
}

int sql_next(struct sql_rows *rows, struct err *err)
{
	return rows->store->type->next(rows, err);
}

void sql_rows_done(struct sql_rows *rows)
{
	if (rows->store && rows->found)
		rows->store->type->done(rows);
	rows->found = NULL;
}

const char *sql_text(struct sql_rows *rows, int column)
{
	size_t len = 0;
	return rows->store->type->column(rows, column, &len);
}

int64_t sql_int(struct sql_rows *rows, int column)
{
	const char *text = sql_text(rows, column);
	return text ? strtoll(text, NULL, 10) : 0;
}

int sql_json(struct sql_rows *rows, int column, json_t **ret, struct err *err)
{
	size_t len = 0;
	const char *text = rows->store->type->column(rows, column, &len);
	if (text == NULL)
		return err_set(err, ERR_PROTOCOL, "the journal holds an empty document");
	return json_parse(text, len, MAX_DOCUMENT, ret, err);
}

int sql_documents(struct sql_rows *rows, json_t **ret_array, struct err *err)
{
	_cleanup_json_ json_t *list = json_array();
	int r;
	while ((r = sql_next(rows, err)) > 0) {
		json_t *doc = NULL;
		r = sql_json(rows, 0, &doc, err);
		if (r < 0)
			return r;
		json_array_append_new(list, doc);
	}
	if (r < 0)
		return r;
	*ret_array = TAKE(list);
	return 0;
}

int sql_write(struct store *s, const struct sql_write *w, struct err *err)
{
	if (s->readonly)
		return err_set(err, ERR_INTERNAL, "the journal was opened for reading");
	int r = s->type->write(s, w, err);
	if (r == 0 && store_after_write)
		store_after_write();
	return r;
}

void sql_json_merge(json_t *object, const json_t *members)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)members, key, value)
	{
		if (json_is_null(value))
			json_object_del(object, key);
		else
			json_object_set(object, key, value);
	}
}
