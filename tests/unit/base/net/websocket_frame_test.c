/* Frames by the examples of RFC 6455, 5.7, and those that no peer may send. */
#include "unit/cmocka_all.h"
#include "base/net/websocket.h"

struct heard {
	struct str text;
};

static int on_event(void *context, enum websocket_kind kind, const char *data, size_t len, struct err *err)
{
	struct heard *h = context;
	(void)err;
	str_appendf(&h->text, "%d:%.*s;", (int)kind, (int)len, data);
	return 0;
}

/* What was read of these bytes, in pieces of that size; the error's code, if any, is left in *ret. */
static char *read_in(size_t piece, bool from_client, const char *data, size_t len, int *ret)
{
	struct heard h = {.text = STR_INIT(1 << 20)};
	struct websocket_reader r = {.from_client = from_client, .message_max = 70000};
	struct err err = ERR_INIT;
	*ret = 0;
	for (size_t at = 0; *ret == 0 && at < len; at += piece)
		*ret = websocket_reader_feed(&r, data + at, at + piece < len ? piece : len - at, on_event, &h, &err);
	assert_int_equal(err.code, *ret);
	websocket_reader_done(&r);
	return str_take(&h.text);
}

static void assert_reads(bool from_client, const char *data, size_t len, const char *expected)
{
	int r;
	for (size_t piece = 1; piece <= len; piece++) {
		_cleanup_free_ char *heard = read_in(piece, from_client, data, len, &r);
		assert_int_equal(r, 0);
		assert_string_equal(heard, expected);
	}
}
#define READS(from_client, bytes, expected) assert_reads(from_client, bytes, sizeof(bytes) - 1, expected)

static void assert_refused(const char *data, size_t len, bool from_client, int code)
{
	int r;
	for (size_t piece = 1; piece <= len; piece += 3) {
		_cleanup_free_ char *heard = read_in(piece, from_client, data, len, &r);
		assert_int_equal(r, code);
		assert_string_equal(heard, "");
	}
}
#define REFUSED(bytes) assert_refused(bytes, sizeof(bytes) - 1, false, ERR_PROTOCOL)
#define TOO_LARGE(bytes) assert_refused(bytes, sizeof(bytes) - 1, false, ERR_LIMIT)

static void the_examples_of_the_rfc_are_read_in_pieces_of_any_size(void **state)
{
	(void)state;
	READS(false, "\x81\x05Hello", "1:Hello;");
	READS(true, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "1:Hello;");
	READS(false, "\x01\x03Hel\x80\x02lo", "1:Hello;");
	READS(false, "\x01\x03Hel\x89\x05Hello\x80\x02lo", "9:Hello;1:Hello;");
	READS(false, "\x81\x00\x82\x00", "1:;2:;");
	READS(false,
	      "\x88\x05\x03\xe8"
	      "bye\x81\x01x",
	      "8:\x03\xe8"
	      "bye;"); /* nothing counts behind a close */
	READS(false, "\x88\x00", "8:;");
}

static void what_is_written_is_read_at_the_other_end(void **state)
{
	(void)state;
	static const size_t lengths[] = {0, 1, 125, 126, 65535, 65536};
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		for (int masked = 0; masked < 2; masked++) {
			struct str out = STR_INIT(1 << 20), expected = STR_INIT(1 << 20);
			int r;
			_cleanup_free_ char *data = xcalloc(lengths[i] + 1, 1);
			memset(data, 'x', lengths[i]);
			websocket_frame(&out, WEBSOCKET_BINARY, true,
			                masked ? (const unsigned char *)"\x01\x02\xff\x80" : NULL, data, lengths[i]);
			str_appendf(&expected, "2:%s;", data);
			_cleanup_free_ char *heard = read_in(4096, masked, out.data, out.len, &r);
			assert_int_equal(r, 0);
			assert_string_equal(heard, str_peek(&expected));
			str_done(&out);
			str_done(&expected);
		}
	}
}

static void frames_that_no_server_may_send_are_refused(void **state)
{
	(void)state;
	REFUSED("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"); /* masked */
	REFUSED("\xc1\x00");                                     /* an extension's bit */
	REFUSED("\x83\x00");                                     /* kinds that are not defined */
	REFUSED("\x8b\x00");
	REFUSED("\x80\x01x");          /* continues nothing */
	REFUSED("\x01\x01x\x81\x01y"); /* a message within another */
	REFUSED("\x09\x00");           /* control in pieces */
	REFUSED("\x89\x7e\x00\x7e");   /* control that is too long */
	REFUSED("\x81\x7e\x00\x7d");   /* a length in a longer form */
	REFUSED("\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff");
	REFUSED("\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00");
	REFUSED("\x81\x02\xc3(");    /* no UTF-8 */
	REFUSED("\x88\x01\x03");     /* half a status */
	REFUSED("\x88\x02\x03\xed"); /* 1005 is never sent */
	REFUSED("\x88\x03\x03\xe8\xff");
	assert_refused("\x81\x05Hello", 7, true, ERR_PROTOCOL); /* a client masks */
}

static void a_message_has_a_ceiling_that_its_head_already_meets(void **state)
{
	(void)state;
	TOO_LARGE("\x81\x7f\x00\x00\x01\x00\x00\x00\x00\x00");
	TOO_LARGE("\x01\x01x\x80\x7f\x00\x00\x00\x00\x00\x01\x11\x70"); /* 70,000 and the one before */
	struct str flood = STR_INIT(1 << 20);
	int r;
	str_append_n(&flood, "\x01\x00", 2);
	for (int i = 0; i < 2000; i++)
		str_append_n(&flood, "\x00\x00", 2);
	_cleanup_free_ char *heard = read_in(100, false, flood.data, flood.len, &r);
	assert_int_equal(r, ERR_LIMIT); /* empty frames without end are one message */
	str_done(&flood);
}

static void the_answer_to_a_key_is_that_of_the_rfc(void **state)
{
	(void)state;
	_cleanup_free_ char *accept = websocket_accept("dGhlIHNhbXBsZSBub25jZQ==");
	assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	assert_int_equal(websocket_close_status("\x03\xe8", 2), WEBSOCKET_NORMAL);
	assert_int_equal(websocket_close_status("", 0), WEBSOCKET_NO_STATUS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_examples_of_the_rfc_are_read_in_pieces_of_any_size),
		cmocka_unit_test(what_is_written_is_read_at_the_other_end),
		cmocka_unit_test(frames_that_no_server_may_send_are_refused),
		cmocka_unit_test(a_message_has_a_ceiling_that_its_head_already_meets),
		cmocka_unit_test(the_answer_to_a_key_is_that_of_the_rfc),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
