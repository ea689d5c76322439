/* What a server says, read: names of tasks, values that are lists, sizes, fingerprints, guests. */
#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "providers/proxmox/attributes.h"
#include "providers/proxmox/certificate.h"
#include "providers/proxmox/properties.h"
#include "providers/proxmox/self.h"

#include <string.h>

static void the_name_of_a_task_is_read_in_its_parts(void **state)
{
	(void)state;
	struct upid u;
	assert_int_equal(upid_read("UPID:pve-1:0000A1B2:00C0FFEE1:65A0B1C2:vzcreate:101:deploy@pve!davit:", &u, NULL),
	                 0);
	assert_string_equal(u.node, "pve-1");
	assert_string_equal(u.type, "vzcreate");
	assert_string_equal(u.id, "101");
	assert_string_equal(u.user, "deploy@pve!davit");
	assert_int_equal(u.started_s, 0x65A0B1C2);
}

static void what_is_no_task_is_refused(void **state)
{
	(void)state;
	static const char *const wrong[] = {"",
	                                    "UPID:",
	                                    "UPID:pve:0000A1B2:00C0FFEE:65A0B1C2:vzcreate:101:deploy@pve!davit",
	                                    "UPID:pve:0000A1B2:00C0FFEE:65A0B1C2:vzcreate:101:deploy@pve!davit:more",
	                                    "UPID:../..:0000A1B2:00C0FFEE:65A0B1C2:vzcreate:101:root@pam:",
	                                    "UPID:pve/x:0000A1B2:00C0FFEE:65A0B1C2:vzcreate:101:root@pam:",
	                                    "UPID:pve:A1B2:00C0FFEE:65A0B1C2:vzcreate:101:root@pam:",
	                                    "UPID:pve:0000A1B2:00C0FFEE:65A0B1C2:vz create:101:root@pam:",
	                                    "UPID:pve:0000A1B2:00C0FFEE:65A0B1C2::101:root@pam:"};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct upid u;
		assert_int_equal(upid_read(wrong[i], &u, NULL), ERR_PROTOCOL);
	}
}

static void values_that_are_lists_are_compared_by_what_was_asked_for(void **state)
{
	(void)state;
	static const char there[] = "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip=dhcp,type=veth";
	assert_true(properties_include(there, "name=eth0,ip=dhcp,bridge=vmbr0", NULL));
	assert_false(properties_include(there, "name=eth0,bridge=vmbr1,ip=dhcp", NULL));
	assert_true(properties_include("virtio=BC:24:11:00:00:01,bridge=vmbr0", "virtio,bridge=vmbr0", "model"));
	assert_false(properties_include("e1000=BC:24:11:00:00:01,bridge=vmbr0", "virtio,bridge=vmbr0", "model"));
}

static void what_the_server_made_up_is_kept_when_a_value_changes(void **state)
{
	(void)state;
	static const char *const keep[] = {"hwaddr", "type", NULL};
	_cleanup_free_ char *lxc = properties_merge("name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,tag=5",
	                                            "name=eth0,bridge=vmbr1", NULL, keep);
	assert_string_equal(lxc, "name=eth0,bridge=vmbr1,hwaddr=BC:24:11:00:00:01");
	_cleanup_free_ char *qemu =
		properties_merge("virtio=BC:24:11:00:00:01,bridge=vmbr0", "virtio,bridge=vmbr1", "model", keep);
	assert_string_equal(qemu, "virtio=BC:24:11:00:00:01,bridge=vmbr1");
}

static void sizes_are_read_and_written_as_the_server_does(void **state)
{
	(void)state;
	assert_int_equal(properties_size("8G"), INT64_C(8) << 30);
	assert_int_equal(properties_size("512M"), INT64_C(512) << 20);
	assert_int_equal(properties_size("4194304K"), INT64_C(4) << 30);
	static const char *const wrong[] = {"", "G", "8X", "8GG", "-8G", "nan", "1e99G", "8 G", "inf"};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(properties_size(wrong[i]), -1);
	_cleanup_free_ char *text = attribute_size(INT64_C(10) << 30);
	assert_string_equal(text, "10G");
}

static void a_fingerprint_is_one_in_either_form_and_nothing_else_is(void **state)
{
	(void)state;
	char plain[65], pairs[CERTIFICATE_FINGERPRINT], again[CERTIFICATE_FINGERPRINT];
	memset(plain, 'a', 64);
	plain[64] = '\0';
	assert_int_equal(certificate_fingerprint_read(plain, pairs, NULL), 0);
	assert_int_equal(strlen(pairs), 95);
	assert_int_equal(certificate_fingerprint_read(pairs, again, NULL), 0);
	assert_string_equal(pairs, again);
	plain[63] = '\0';
	assert_int_equal(certificate_fingerprint_read(plain, again, NULL), ERR_INVALID);
	assert_int_equal(certificate_fingerprint_read("", again, NULL), ERR_INVALID);
	assert_int_equal(certificate_fingerprint_read("sha1:AA", again, NULL), ERR_INVALID);
}

static void numbers_and_flags_are_one_whether_they_come_as_texts_or_not(void **state)
{
	(void)state;
	struct guest g = {.there = true, .type = "lxc", .vmid = 101, .node = "pve"};
	g.config =
		json_pack("{s:s, s:i, s:s, s:i, s:s, s:s}", "memory", "512", "cores", 2, "onboot", "1", "unprivileged",
	                  1, "rootfs", "local-lvm:vm-101-disk-0,size=8G", "hookscript", "local:snippets/x");
	json_t *node _cleanup_json_ = guest_node(&g);
	assert_int_equal(json_get_int(node, "memory", 0), 512);
	assert_int_equal(json_get_int(node, "cores", 0), 2);
	assert_true(json_get_bool(node, "onboot", false));
	assert_true(json_get_bool(node, "unprivileged", false));
	assert_string_equal(json_get_string(node, "storage"), "local-lvm");
	assert_string_equal(json_get_string(node, "disk"), "8G");
	assert_null(json_object_get(node, "hookscript"));
	guest_done(&g);
}

static void a_guest_is_this_machine_by_its_uuid_its_card_or_its_address(void **state)
{
	(void)state;
	struct self s = {.uuid = xstrdup("0d7b1c1e-5a0e-4a53-9f3c-6e5f8f0f3a10")};
	strv_add(&s.cards, "bc:24:11:00:00:01");
	strv_add(&s.addresses, "10.1.2.3");
	static const struct {
		const char *key, *value;
		bool is;
	} cases[] = {{"smbios1", "uuid=0D7B1C1E-5A0E-4A53-9F3C-6E5F8F0F3A10", true},
	             {"smbios1", "uuid=11111111-5a0e-4a53-9f3c-6e5f8f0f3a10", false},
	             {"net3", "virtio=BC:24:11:00:00:01,bridge=vmbr0", true},
	             {"net0", "name=eth0,ip=10.1.2.3/24", true},
	             {"net0", "name=eth0,ip=10.1.2.30/24", false},
	             {"ipconfig0", "ip=10.1.2.3/24", true},
	             {"description", "ip=10.1.2.3/24", false}};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct str why _cleanup_(str_done) = STR_INIT(256);
		struct guest g = {.there = true, .config = json_pack("{s:s}", cases[i].key, cases[i].value)};
		assert_int_equal(self_is(&s, &g, &why), cases[i].is);
		guest_done(&g);
	}
	self_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_name_of_a_task_is_read_in_its_parts),
		cmocka_unit_test(what_is_no_task_is_refused),
		cmocka_unit_test(values_that_are_lists_are_compared_by_what_was_asked_for),
		cmocka_unit_test(what_the_server_made_up_is_kept_when_a_value_changes),
		cmocka_unit_test(sizes_are_read_and_written_as_the_server_does),
		cmocka_unit_test(a_fingerprint_is_one_in_either_form_and_nothing_else_is),
		cmocka_unit_test(numbers_and_flags_are_one_whether_they_come_as_texts_or_not),
		cmocka_unit_test(a_guest_is_this_machine_by_its_uuid_its_card_or_its_address),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
