/* What Scaleway says, read: refusals, rules, who this machine is, and what the real service was recorded to answer. */
#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "harness/server.h"
#include "providers/scaleway/instance.h"
#include "providers/scaleway/reply.h"
#include "providers/scaleway/security_group.h"
#include "providers/scaleway/volume.h"

#include <stdlib.h>
#include <string.h>

static json_t *parsed(const char *text)
{
	json_t *value = json_loads(text, 0, NULL);
	assert_non_null(value);
	return value;
}

static void an_id_is_a_uuid_and_nothing_else_gets_into_a_path(void **state)
{
	(void)state;
	static const char *const wrong[] = {NULL,
	                                    "",
	                                    "5f5a33b1",
	                                    "5f5a33b1-c733-4c20-b0c8-63edbb38f62",
	                                    "5F5A33B1-c733-4c20-b0c8-63edbb38f620",
	                                    "../../../../../../../../../../servers",
	                                    "5f5a33b1-c733-4c20-b0c8-63edbb38f620/",
	                                    "5f5a33b1/c733-4c20-b0c8-63edbb38f620"};
	assert_true(reply_is_id("5f5a33b1-c733-4c20-b0c8-63edbb38f620"));
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_false(reply_is_id(wrong[i]));
}

static void a_refusal_is_told_with_what_it_names(void **state)
{
	(void)state;
	static const struct {
		int status, code;
		const char *body, *says;
	} cases[] = {
		{400, ERR_INVALID,
	         "{\"type\":\"invalid_arguments\",\"message\":\"invalid argument(s)\",\"details\":[{\"argument_name\":\"name\","
	         "\"reason\":\"required\",\"help_message\":\"required key not provided\"}]}",
	         "invalid argument(s); name: required key not provided"},
		{400, ERR_INVALID,
	         "{\"type\":\"invalid_request_error\",\"message\":\"bad\",\"fields\":{\"volumes.0.size\":[\"too large\"]}}",
	         "bad; volumes.0.size: too large"},
		{400, ERR_FAILED, "{\"message\":\"quota exceeded for this resource\"}",
	         "quota exceeded for this resource"},
		{403, ERR_FAILED,
	         "{\"type\":\"quotas_exceeded\",\"details\":[{\"resource\":\"Servers\",\"quota\":2,\"current\":2}]}",
	         "quotas_exceeded; Servers (2 of 2 used)"},
		{403, ERR_PERMISSION,
	         "{\"type\":\"permissions_denied\",\"message\":\"insufficient permissions\",\"details\":[{\"resource\":\"snapshot\","
	         "\"action\":\"read\"}]}",
	         "insufficient permissions; snapshot: read"},
		{404, ERR_NOT_FOUND, "{\"type\":\"unknown_resource\",\"message\":\"\\\"x\\\" not found\"}",
	         "\"x\" not found"},
		{409, ERR_FAILED,
	         "{\"type\":\"transient_state\",\"resource\":\"volume\",\"current_state\":\"updating\"}",
	         "transient_state; volume, updating"},
		{503, ERR_FAILED, "{\"type\":\"out_of_stock\",\"resource\":\"DEV1-S\"}", "out_of_stock; DEV1-S"},
		{502, ERR_UNKNOWN, "[]", ""},
		{429, ERR_NETWORK, "{}", ""},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct str out _cleanup_(str_done) = STR_INIT(1024);
		json_t *body _cleanup_json_ = parsed(cases[i].body);
		reply_describe(body, &out);
		assert_string_equal(str_peek(&out), cases[i].says);
		assert_int_equal(reply_code(cases[i].status, body, false), cases[i].code);
	}
	assert_int_equal(reply_code(502, NULL, true), ERR_NETWORK);
}

static void a_refusal_moves_no_cursor(void **state)
{
	(void)state;
	struct str out _cleanup_(str_done) = STR_INIT(1024);
	json_t *body _cleanup_json_ = json_pack("{s:s}", "message", "gone\x1b[2J\nsecond");
	reply_describe(body, &out);
	assert_null(strchr(str_peek(&out), '\x1b'));
	assert_null(strchr(str_peek(&out), '\n'));
}

static void rules_are_one_in_both_forms(void **state)
{
	(void)state;
	json_t *rows _cleanup_json_ = parsed(
		"[{\"protocol\":\"TCP\",\"direction\":\"inbound\",\"action\":\"accept\",\"ip_range\":\"203.0.113.7\",\"dest_port_from\":8000,"
		"\"dest_port_to\":8010,\"position\":2,\"editable\":true},"
		"{\"protocol\":\"TCP\",\"direction\":\"outbound\",\"action\":\"drop\",\"ip_range\":\"0.0.0.0/0\",\"dest_port_from\":25,"
		"\"dest_port_to\":null,\"position\":1,\"editable\":false},"
		"{\"protocol\":\"ICMP\",\"direction\":\"inbound\",\"action\":\"accept\",\"ip_range\":\"0.0.0.0/0\",\"dest_port_from\":null,"
		"\"dest_port_to\":null,\"position\":1,\"editable\":true}]");
	json_t *rules _cleanup_json_ = security_group_rules(rows);
	json_t *icmp _cleanup_json_ = security_group_rule("inbound", "accept", "ICMP", NULL, NULL);
	json_t *tcp _cleanup_json_ = security_group_rule("inbound", "accept", "TCP", "203.0.113.7/32", "8000-8010");
	assert_int_equal(json_array_size(rules), 2);
	assert_true(json_equal(json_array_get(rules, 0), icmp));
	assert_true(json_equal(json_array_get(rules, 1), tcp));
	json_t *sent _cleanup_json_ = security_group_rows(rules), *again _cleanup_json_ = security_group_rules(sent);
	assert_true(json_equal(rules, again));
}

static void an_instance_is_this_machine_by_its_id_its_card_or_its_address(void **state)
{
	(void)state;
	struct self s = {.uuid = xstrdup("5F5A33B1-C733-4C20-B0C8-63EDBB38F620")};
	strv_add(&s.cards, "de:00:01:27:16:8f");
	strv_add(&s.addresses, "51.15.0.1");
	static const struct {
		const char *object;
		bool is;
	} cases[] = {{"{\"id\":\"5f5a33b1-c733-4c20-b0c8-63edbb38f620\"}", true},
	             {"{\"id\":\"6f5a33b1-c733-4c20-b0c8-63edbb38f620\"}", false},
	             {"{\"id\":\"x\",\"mac_address\":\"DE:00:01:27:16:8F\"}", true},
	             {"{\"id\":\"x\",\"private_nics\":[{\"mac_address\":\"de:00:01:27:16:8f\"}]}", true},
	             {"{\"id\":\"x\",\"public_ips\":[{\"address\":\"51.15.0.2\"},{\"address\":\"51.15.0.1\"}]}", true},
	             {"{\"id\":\"x\",\"public_ips\":[{\"address\":null}],\"private_ip\":\"51.15.0.11\"}", false}};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct str why _cleanup_(str_done) = STR_INIT(256);
		json_t *object _cleanup_json_ = parsed(cases[i].object);
		assert_int_equal(instance_is_self(&s, object, &why), cases[i].is);
	}
	self_done(&s);
}

/* ---- as it was recorded ---- */

static struct server recorded;

static struct scaleway *client(void)
{
	struct scaleway *s = NULL;
	const struct scaleway_config config = {.url = server_text(&recorded, "url"),
	                                       .project = "105bdce1-64c0-48ab-899d-868455867ecf",
	                                       .zone = "fr-par-1",
	                                       .token = "none",
	                                       .timeout_ms = 1000};
	assert_int_equal(scaleway_new(&config, &s, NULL), 0);
	return s;
}

/* Each object of a kind, read by its own path as its list names it. */
static size_t read_all(const struct scaleway_kind *kind, void (*check)(const json_t *object, const json_t *node))
{
	struct scaleway *s _cleanup_(scaleway_freep) = client();
	struct wait w = WAIT_INIT;
	const struct object_call o = {s, kind, &w};
	json_t *all _cleanup_json_ = NULL;
	struct err err = ERR_INIT;
	char line[1024];
	if (object_list(&o, &all, &err) < 0)
		fail_msg("%s", err_line(&err, line, sizeof(line)));
	for (size_t i = 0; i < json_array_size(all); i++) {
		json_t *object _cleanup_json_ = NULL, *node _cleanup_json_ = NULL;
		int r = object_get(&o, object_id(json_array_get(all, i)), &object, &err);
		if (r == 0)
			r = object_node(&o, object, &node, &err);
		if (r < 0)
			fail_msg("%s", err_line(&err, line, sizeof(line)));
		check(object, node);
	}
	return json_array_size(all);
}

static void check_instance(const json_t *object, const json_t *node)
{
	const char *type = json_get_string(node, "root_type");
	assert_string_equal(json_get_string(node, "commercial_type"), json_get_string(object, "commercial_type"));
	assert_string_equal(json_get_string(node, "status"), json_get_string(object, "state"));
	assert_non_null(json_get_string(node, "security_group"));
	/* Of one that was recorded without its block volume the size is not known. */
	if (type != NULL && strcmp(type, "l_ssd") == 0)
		assert_true(json_get_int(node, "root_size", 0) > 0);
}

static void check_volume(const json_t *object, const json_t *node)
{
	assert_int_equal(json_get_int(node, "size", 0) * VOLUME_GB, json_get_int(object, "size", 1));
	assert_true(json_get_int(node, "iops", 0) >= 5000);
}

static void check_ip(const json_t *object, const json_t *node)
{
	const char *prefix = json_get_string(object, "prefix");
	assert_non_null(json_get_string(node, "address"));
	assert_string_equal(json_get_string(node, "family"), prefix != NULL ? "ipv6" : "ipv4");
}

static void what_the_service_was_recorded_to_have_is_read(void **state)
{
	(void)state;
	if (json_object_get(recorded.facts, "url") == NULL)
		skip();
	assert_int_equal(read_all(&scaleway_kind_instance, check_instance),
	                 json_get_int(recorded.facts, "servers", -1));
	assert_int_equal(read_all(&scaleway_kind_volume, check_volume), json_get_int(recorded.facts, "volumes", -1));
	assert_int_equal(read_all(&scaleway_kind_ip, check_ip), json_get_int(recorded.facts, "ips", -1));
	assert_true(json_get_int(recorded.facts, "servers", 0) > 5);
}

static void what_the_service_was_recorded_to_refuse_is_told(void **state)
{
	const json_t *all = json_get_array(recorded.facts, "refusals");
	(void)state;
	if (json_object_get(recorded.facts, "url") == NULL)
		skip();
	assert_true(json_array_size(all) > 2);
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *body = json_object_get(json_array_get(all, i), "body");
		int status = (int)json_get_int(json_array_get(all, i), "status", 0);
		struct str out _cleanup_(str_done) = STR_INIT(1024);
		reply_describe(body, &out);
		assert_true(out.len > 0);
		assert_int_equal(reply_code(status, body, true), status == 404   ? ERR_NOT_FOUND
		                                                 : status == 403 ? ERR_PERMISSION
		                                                                 : ERR_INVALID);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_id_is_a_uuid_and_nothing_else_gets_into_a_path),
		cmocka_unit_test(a_refusal_is_told_with_what_it_names),
		cmocka_unit_test(a_refusal_moves_no_cursor),
		cmocka_unit_test(rules_are_one_in_both_forms),
		cmocka_unit_test(an_instance_is_this_machine_by_its_id_its_card_or_its_address),
		cmocka_unit_test(what_the_service_was_recorded_to_have_is_read),
		cmocka_unit_test(what_the_service_was_recorded_to_refuse_is_told),
	};
	/* Where the recordings are not at hand its facts say so, and the two that need them are skipped. */
	server_start(&recorded, "scaleway_replay.py", NULL);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	server_stop(&recorded);
	return failed;
}
