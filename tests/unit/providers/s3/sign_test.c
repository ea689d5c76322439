/* The examples of "Authenticating Requests: Using the Authorization Header" in the reference of S3. */
#include "unit/cmocka_all.h"
#include "providers/s3/sign.h"

static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const struct s3_login login = {.access_key = "AKIAIOSFODNN7EXAMPLE",
                                      .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                                      .region = "us-east-1"};

static void check(struct s3_signed request, const char *signature)
{
	struct strv headers _cleanup_(strv_done) = {0};
	_cleanup_free_ char *wanted = xasprintf("Signature=%s", signature);
	request.host = "examplebucket.s3.amazonaws.com";
	request.wall_ms = 1369353600000; /* 2013-05-24 */
	s3_sign(&login, &request, &headers);
	const char *last = headers.items[headers.count - 1];
	if (!str_ends(last, wanted))
		fail_msg("%s", last);
}

static void part_of_an_object_is_asked_for(void **state)
{
	(void)state;
	const char *const headers[] = {"range: bytes=0-9"};
	check((struct s3_signed){.method = "GET",
	                         .path = "/test.txt",
	                         .query = "",
	                         .headers = headers,
	                         .header_count = 1,
	                         .payload_sha256 = empty},
	      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void an_object_is_put(void **state)
{
	(void)state;
	_cleanup_(str_done) struct str path = STR_INIT(100);
	const char *const headers[] = {"date: Fri, 24 May 2013 00:00:00 GMT",
	                               "x-amz-storage-class: REDUCED_REDUNDANCY"};
	str_append_c(&path, '/');
	s3_escape("test$file.text", true, &path);
	check((struct s3_signed){.method = "PUT",
	                         .path = str_peek(&path),
	                         .query = "",
	                         .headers = headers,
	                         .header_count = 2,
	                         .payload_sha256 = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"},
	      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void a_query_without_a_value_is_asked(void **state)
{
	(void)state;
	check((struct s3_signed){.method = "GET", .path = "/", .query = "lifecycle=", .payload_sha256 = empty},
	      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

static void a_list_is_asked_for(void **state)
{
	(void)state;
	check((struct s3_signed){.method = "GET", .path = "/", .query = "max-keys=2&prefix=J", .payload_sha256 = empty},
	      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void a_temporary_login_sends_its_token_and_signs_it(void **state)
{
	(void)state;
	struct strv headers _cleanup_(strv_done) = {0};
	struct s3_login temporary = login;
	temporary.session_token = "the token";
	s3_sign(&temporary,
	        &(struct s3_signed){.method = "GET", .host = "h", .path = "/", .query = "", .payload_sha256 = empty},
	        &headers);
	assert_true(strv_has(&headers, "x-amz-security-token: the token"));
	assert_non_null(strstr(headers.items[headers.count - 1], "x-amz-date;x-amz-security-token,"));
}

static void keys_are_encoded_once(void **state)
{
	(void)state;
	_cleanup_(str_done) struct str out = STR_INIT(200);
	s3_escape("a b+c/\xc3\xa4~%_-.", true, &out);
	assert_string_equal(str_peek(&out), "a%20b%2Bc/%C3%A4~%25_-.");
	str_clear(&out);
	s3_escape("a/b=", false, &out);
	assert_string_equal(str_peek(&out), "a%2Fb%3D");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(part_of_an_object_is_asked_for),
		cmocka_unit_test(an_object_is_put),
		cmocka_unit_test(a_query_without_a_value_is_asked),
		cmocka_unit_test(a_list_is_asked_for),
		cmocka_unit_test(a_temporary_login_sends_its_token_and_signs_it),
		cmocka_unit_test(keys_are_encoded_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
