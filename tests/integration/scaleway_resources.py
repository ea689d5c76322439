#!/usr/bin/env python3
"""What a project of Scaleway has as resources of apply: made, changed, destroyed, taken back; and every way in which the service may fail in between."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.scaleway import GATE_THAT_FAILS, ScalewayCase, group, instance, ip, volume  # noqa: E402
from harness.lanes import Lanes  # noqa: E402
from harness.trial import main  # noqa: E402
from servers.scaleway import ACTION, CREATE_IP, CREATE_SERVER, CREATE_VOLUME, PATCH_VOLUME  # noqa: E402

SERVERS = "/instance/v1/zones/fr-par-1/servers"
WHOLE = [ip(id="address"), volume(id="disk"), group("shop", id="wall", rules=[{"ports": "22"}, {"ports": "80-443", "ip_range": "203.0.113.0/24"}]),
         instance(ips=["${{ resources.address.name }}"], volumes=["${{ resources.disk.name }}"], security_group="${{ resources.wall.name }}",
                  cloud_init="#cloud-config\npackages: [podman]\n", tags=["shop", "blue"])]


class Resources(ScalewayCase):
    def test_an_instance_is_made_with_all_that_belongs_to_it_and_a_second_run_changes_nothing(self):
        s = self.service()
        plan = self.apply(s, *WHOLE, args=["--plan"])
        self.assert_says(plan, "scaleway_instance:web", "scaleway_ip:web-ip", "scaleway_volume:data", "scaleway_security_group:shop", "root_size")
        self.assertEqual(s.changed(), [])
        self.apply(s, *WHOLE)
        web = s.server("web")
        self.assertEqual((web["state"], web["security_group"]["name"], web["_user_data"]), ("running", "shop", {"cloud-init": "#cloud-config\npackages: [podman]\n"}))
        self.assertEqual((s.root("web")["size"], s.volume("data")["size"], s.volume("data")["status"]), (10 * 10 ** 9, 20 * 10 ** 9, "in_use"))
        self.assertEqual((s.ip("web-ip")["server"]["id"], sorted(web["volumes"])), (web["id"], ["0", "1"]))
        self.assertEqual(len([r for r in s.group("shop")["_rules"] if r["editable"]]), 2)
        count = len(s.changed())
        self.assert_says(self.apply(s, *WHOLE), "nothing to change")
        self.assertEqual(len(s.changed()), count)

    def test_a_plan_of_many_asks_several_at_once_and_what_is_sold_only_once(self):
        s = self.service(quota=100)
        s.flight.pause_s = 0.02
        many = [*(volume(f"data{i}") for i in range(20)), *(instance(f"web{i}") for i in range(20))]
        self.assert_says(self.apply(s, *many, args=["--plan"]), "scaleway_volume:data19", "scaleway_instance:web0")
        self.assertTrue(4 < s.flight.most <= 16, s.flight.most)
        self.assertEqual([s.asked("GET", f"/instance/v1/zones/fr-par-1/products/servers{rest}") for rest in ("", "/availability")], [1, 1])
        self.assertEqual((s.asked("GET", ".*/local-images"), s.changed()), (1, []))

    def test_of_many_each_that_is_wrong_is_told_in_its_order(self):
        s = self.service(quota=100)
        many = [instance(f"web{i}", **({"commercial_type": f"DEV1-X{i}"} if i in (3, 7) else {})) for i in range(10)]
        self.assert_says(self.apply(s, *many, code=2), "scaleway_instance:web3: there is no type of instances 'DEV1-X3'", "scaleway_instance:web7: there is no type")
        self.assertEqual(s.changed(), [])

    def test_the_cloud_init_document_is_there_before_the_first_start(self):
        s = self.service()
        self.apply(s, *WHOLE)
        order = [path.rsplit("/", 2)[1:] for method, path in s.changed() if path.startswith(SERVERS)]
        self.assertLess(order.index(["user_data", "cloud-init"]), next(i for i, p in enumerate(order) if p[-1] == "action"))

    def test_attributes_change_in_place(self):
        s = self.service()
        self.apply(s, *WHOLE)
        key = s.server("web")["id"]
        changed = [ip(id="address", tags=["edge"]), volume(id="disk", size=30, iops=15000), group("shop", id="wall", rules=[{"ports": "22", "protocol": "UDP"}]),
                   instance(ips=[], volumes=["data"], security_group="shop", cloud_init="#cloud-config\npackages: [podman]\n", tags=["shop"], protected=True)]
        self.assert_says(self.apply(s, *changed, args=["--plan"]), "20 → 30", "an undo cannot shrink the volume")
        self.apply(s, *changed)
        web = s.server("web")
        self.assertEqual((web["id"], web["state"], web["protected"], s.ip("web-ip")["server"]), (key, "running", True, None))
        self.assertEqual((s.volume("data")["size"], s.volume("data")["specs"]["perf_iops"]), (30 * 10 ** 9, 15000))
        self.assertEqual([(r["protocol"], r["dest_port_from"]) for r in s.group("shop")["_rules"] if r["editable"]], [("UDP", 22)])
        self.assertEqual([t for t in web["tags"] if not t.startswith("davit")], ["shop"])
        self.assert_says(self.apply(s, *changed), "nothing to change")

    def test_another_type_is_told_with_the_stop_that_it_needs(self):
        s = self.service()
        self.apply(s, instance())
        self.assert_says(self.apply(s, instance(commercial_type="DEV1-M"), args=["--plan"]), "it is switched off for `commercial_type` and on again")
        self.apply(s, instance(commercial_type="DEV1-M"))
        self.assertEqual((s.server("web")["commercial_type"], s.server("web")["state"]), ("DEV1-M", "running"))
        self.assertEqual(s.asked("POST", ".*/action"), 3)

    def test_an_instance_is_switched_off_and_on(self):
        s = self.service()
        self.apply(s, instance())
        self.assert_says(self.apply(s, instance(running=False), args=["--plan"]), "it is switched off")
        self.apply(s, instance(running=False))
        self.assertEqual(s.server("web")["state"], "stopped")
        self.apply(s, instance())
        self.assertEqual(s.server("web")["state"], "running")

    def test_what_left_the_file_is_destroyed_only_by_its_id_and_takes_its_root_volume_along(self):
        s = self.service()
        self.apply(s, *WHOLE)
        key = s.server("web")["id"]
        self.assert_says(self.apply(s, *WHOLE[:3], code=2), f'"scaleway_instance:web={key}"')
        self.assert_says(self.apply(s, *WHOLE[:3], allow=["scaleway_instance:web"], code=2), "left the desired state and would be destroyed")
        self.apply(s, *WHOLE[:3], allow=[f"scaleway_instance:web={key}"])
        self.assertEqual((s.servers, [v["name"] for v in s.volumes.values()], s.ip("web-ip")["state"]), ({}, ["data"], "detached"))

    def test_another_image_means_another_instance(self):
        s = self.service()
        self.apply(s, instance())
        former = s.server("web")["id"]
        self.assert_says(self.apply(s, instance(image="debian_trixie"), code=2), "would be destroyed and made anew, because of `image`")
        self.apply(s, instance(image="debian_trixie"), allow=[f"scaleway_instance:web={former}"])
        self.assertNotEqual(s.server("web")["id"], former)
        self.assertEqual((s.server("web")["_data"], len(s.volumes), s.server("web")["state"]), ("fresh debian_trixie", 1, "running"))
        self.assert_says(self.apply(s, instance(image="debian_trixie")), "nothing to change")

    def test_what_was_made_goes_and_what_was_changed_is_as_before_when_the_gate_fails(self):
        s = self.service()
        self.apply(s, instance(tags=["blue"]), group("shop", rules=[{"ports": "22"}]))
        self.apply(s, instance(tags=["green"], commercial_type="DEV1-M"), group("shop", rules=[{"ports": "80"}]), ip(), volume(), instance("db"), more=[GATE_THAT_FAILS], code=1)
        web = s.server("web")
        self.assertEqual((web["commercial_type"], web["state"], [t for t in web["tags"] if not t.startswith("davit")]), ("DEV1-S", "running", ["blue"]))
        self.assertEqual((len(s.servers), len(s.volumes), s.ips, [r["dest_port_from"] for r in s.group("shop")["_rules"] if r["editable"]]), (1, 1, {}, [22]))

    def test_a_security_group_that_was_destroyed_comes_back_with_its_rules(self):
        s = self.service()
        self.apply(s, group("shop", rules=[{"ports": "22"}]), group("old", rules=[{"ports": "8080"}]))
        key = s.group("old")["id"]
        self.apply(s, group("shop", rules=[{"ports": "22"}]), allow=[f"scaleway_security_group:old={key}"], more=[GATE_THAT_FAILS], code=1)
        self.assertEqual([r["dest_port_from"] for r in s.group("old")["_rules"] if r["editable"]], [8080])

    def test_an_address_that_was_given_back_cannot_come_back(self):
        s = self.service()
        self.apply(s, ip("old"))
        allow = [f"scaleway_ip:old={s.ip('old')['id']}"]
        self.assert_says(self.apply(s, allow=allow, args=["--plan"]), "may be somebody else's at once")
        self.assert_says(self.apply(s, allow=allow, more=[GATE_THAT_FAILS], code=4), "the IP 'old' was destroyed")

    def test_its_address_reaches_a_later_step(self):
        s = self.service()
        path = os.path.join(self.t.src, "address")
        write = {"apply": {"target": "here", "resources": [{"file": {"path": path, "content": "${{ resources.web.ip }} ${{ resources.address.address }}\n"}}]}, "id": "files"}
        self.apply(s, ip(id="address"), instance(id="web", ips=["${{ resources.address.name }}"]), more=[write])
        with open(path) as f:
            self.assertEqual(f.read(), "51.15.0.1 51.15.0.1\n")

    def test_one_that_was_there_before_is_managed_from_then_on(self):
        s = self.service()
        self.apply(s, instance(tags=["x"]))
        other = type(self.t)()
        self.addCleanup(other.__exit__)
        self.t = other
        self.assert_says(self.apply(s, instance(image="debian_trixie", tags=["x"]), args=["--plan"]), "it is managed from now on")
        self.apply(s, instance(image="debian_trixie", tags=["x"]))
        self.assertEqual((len(s.servers), s.asked("POST", SERVERS)), (1, 1))

    def test_one_that_somebody_made_in_place_of_ours_is_left_alone(self):
        s = self.service()
        self.apply(s, instance())
        former = s.server("web")
        s.servers = {"11111111-1111-4111-8111-111111111111": {**former, "id": "11111111-1111-4111-8111-111111111111", "tags": []}}
        self.assert_says(self.apply(s, instance(tags=["x"]), code=2), f"was made as {former['id']}", "somebody else made 11111111-1111-4111-8111-111111111111")

    def test_two_of_a_name_are_refused_with_their_ids(self):
        s = self.service()
        self.apply(s, instance())
        s.servers["11111111-1111-4111-8111-111111111111"] = {**s.server("web"), "id": "11111111-1111-4111-8111-111111111111"}
        del s.servers[next(k for k in s.servers if k[0] != "1" or k.count("1") < 20)]
        s.servers["22222222-2222-4222-8222-222222222222"] = {**s.server("web"), "id": "22222222-2222-4222-8222-222222222222"}
        self.assert_says(self.apply(s, instance(), code=2), "are called 'web'", "22222222-2222-4222-8222-222222222222")

    def test_lists_are_read_to_their_end(self):
        s = self.service(page=2)
        self.apply(s, *[ip(f"ip-{i}") for i in range(5)], instance(commercial_type="PLAY2-NANO"))
        self.assertEqual((len(s.ips), s.server("web")["state"]), (5, "running"))
        self.assert_says(self.apply(s, *[ip(f"ip-{i}") for i in range(5)], instance(commercial_type="PLAY2-NANO")), "nothing to change")


class Faults(ScalewayCase):
    def test_a_create_whose_reply_is_lost_is_found_again_and_never_made_twice(self):
        s = self.service()
        for request in (CREATE_SERVER, CREATE_IP, CREATE_VOLUME):
            s.fault(request, "lost")
        self.apply(s, ip(), volume(), instance())
        self.assertEqual((len(s.servers), len(s.ips), len(s.volumes), s.server("web")["state"]), (1, 1, 2, "running"))
        self.assertEqual([s.asked("POST", p) for p in (SERVERS, ".*/ips", ".*block.*/volumes")], [1, 1, 1])
        self.apply(s, ip(), volume(), instance())
        self.assert_says(self.apply(s, ip(), volume(), instance()), "nothing to change")

    def test_a_create_that_is_carried_out_late_is_waited_for(self):
        s = self.service()
        s.fault(CREATE_SERVER, "late")
        self.apply(s, instance())
        self.assertEqual((len(s.servers), s.asked("POST", SERVERS), len(s.volumes)), (1, 1, 1))

    def test_a_request_that_never_came_is_made_again(self):
        s = self.service()
        s.fault(CREATE_SERVER, "away")
        self.apply(s, instance())
        self.assertEqual((s.server("web")["state"], s.asked("POST", SERVERS)), ("running", 2))

    def test_one_that_was_made_twice_after_all_is_one(self):
        s = self.service()
        s.fault(CREATE_SERVER, "lost")
        made = []

        def twin():
            if not made and s.servers:
                made.append(s.servers[next(iter(s.servers))])
                s.servers["ffffffff-ffff-4fff-8fff-ffffffffffff"] = {**made[0], "id": "ffffffff-ffff-4fff-8fff-ffffffffffff", "volumes": {}, "creation_date": "2999"}
        real = s.advance

        def advance():
            real()
            twin()
        s.advance = advance
        self.apply(s, instance())
        self.assertEqual(list(s.servers), [made[0]["id"]])

    def test_requests_that_come_too_fast_are_made_again_when_the_service_says(self):
        s = self.service()
        for request in (CREATE_SERVER, ACTION, "GET /instance/v1/zones/{zone}/servers", "GET /block/v1/zones/{zone}/volumes/{volume_id}"):
            s.fault(request, "429 0", 2)
        self.apply(s, instance())
        self.assertEqual((s.server("web")["state"], s.asked("POST", SERVERS)), ("running", 3))

    def test_errors_of_the_gateway_are_waited_out(self):
        s = self.service()
        for request in (CREATE_SERVER, ACTION, "GET /instance/v1/zones/{zone}/servers/{server_id}", "GET /instance/v1/zones/{zone}/products/servers"):
            s.fault(request, "500")
        self.apply(s, instance())
        self.assertEqual((s.server("web")["state"], len(s.servers)), ("running", 1))

    def test_a_reply_that_is_not_the_services_is_looked_into(self):
        s = self.service()
        s.fault(CREATE_SERVER, "strange")
        s.fault(ACTION, "strange")
        self.apply(s, instance())
        self.assertEqual((s.server("web")["state"], s.asked("POST", SERVERS)), ("running", 1))

    def test_a_state_that_passes_is_waited_for(self):
        s = self.service()
        s.fault(ACTION, "busy", 2)
        self.apply(s, instance())
        self.assertEqual(s.server("web")["state"], "running")

    def test_a_start_that_comes_to_nothing_is_told_and_all_is_taken_back(self):
        s = self.service()
        s.fault(ACTION, "fails")
        result = self.apply(s, instance(), ip(), code=1)
        self.assert_says(result, "`poweron` of the instance 'web' came to nothing: it is stopped, no node could be allocated")
        self.assertEqual((s.servers, s.volumes, s.ips), ({}, {}, {}))

    def test_a_zone_without_capacity_is_told_and_all_is_taken_back(self):
        s = self.service()
        s.fault(ACTION, "stock")
        self.assert_says(self.apply(s, instance(), code=1), "out of stock", "take another type or zone")
        self.assertEqual((s.servers, s.volumes), ({}, {}))

    def test_a_quota_that_is_used_up_is_told_with_its_numbers(self):
        s = self.service(quota=1)
        self.assert_says(self.apply(s, instance(), instance("db"), code=1), "quota", "1 of 1 used", "ask Scaleway for more")
        self.assertEqual((s.servers, s.volumes), ({}, {}))

    def test_a_volume_that_never_grows_is_given_up_and_named(self):
        s = self.service()
        self.apply(s, volume())
        s.fault(PATCH_VOLUME, "fails")
        self.assert_says(self.apply(s, volume(size=30), target={"action_timeout": "1s"}, code=1), f"the volume {s.volume('data')['id']} does not reach 30 GB")
        self.assertEqual(s.volume("data")["size"], 20 * 10 ** 9)

    def test_a_start_that_hangs_is_given_up_and_named(self):
        s = self.service()
        s.fault(ACTION, "hangs")
        result = self.apply(s, instance(), target={"action_timeout": "1s"}, code=4)
        self.assert_says(result, "is starting and becomes nothing else")

    def test_a_process_killed_in_the_middle_of_a_create_is_recovered_to_nothing(self):
        s = self.service()
        s.task_s = 1
        process = self.begin(s, ip(), instance())
        s.wait_for(lambda: any(v["state"] == "starting" for v in s.servers.values()))
        self.kill(process)
        self.davit("recover")
        self.assertEqual((s.servers, s.volumes, s.ips, s.asked("POST", SERVERS)), ({}, {}, {}, 1))

    def test_a_process_killed_before_it_knew_what_it_made_finds_it_again(self):
        s = self.service()
        s.fault(CREATE_SERVER, "lost")
        process = self.begin(s, instance())
        s.wait_for(lambda: s.servers)
        self.kill(process)
        self.davit("recover")
        self.assertEqual((s.servers, s.volumes), ({}, {}))


class Before(ScalewayCase):
    def refused(self, s, *words, target=None, code=2, **wanted):
        marker = self.t.path("ran")
        self.assert_says(self.steps(s, [{"run": {"target": "here", "command": f"touch {marker}"}}, {"apply": {"target": "cloud", "resources": [instance(**wanted)]}}], code=code,
                                    target=target), *words)
        self.assertEqual((s.changed(), os.path.exists(marker)), ([], False))

    def test_a_type_that_is_not_sold_is_refused_with_those_that_are(self):
        self.refused(self.service(), "there is no type of instances 'DEV1-XXL' in fr-par-1", "DEV1-S, DEV1-M, DEV1-L", commercial_type="DEV1-XXL")

    def test_a_type_that_is_out_of_stock_or_no_more_sold_is_refused(self):
        s = self.service()
        s.sold_out.add("DEV1-S")
        self.refused(s, "a DEV1-S is out of stock in fr-par-1")
        self.refused(s, "a START1-S is not sold any more", commercial_type="START1-S")

    def test_an_image_that_does_not_exist_is_refused_with_the_nearest(self):
        self.refused(self.service(), "there is no image with the label 'debian_bookwurm'", "did you mean 'debian_bookworm'?", image="debian_bookwurm")

    def test_an_image_is_taken_for_the_architecture_of_the_type(self):
        s = self.service()
        self.apply(s, instance(commercial_type="COPARM1-2C-8G"))
        self.assertEqual(s.server("web")["arch"], "arm64")

    def test_a_local_root_volume_fits_its_type(self):
        self.refused(self.service(), "a DEV1-S has local volumes of 0 to 20 GB, not of 30", root_type="l_ssd", root_size=30)
        self.refused(self.service(), "a PLAY2-NANO has no local volumes", commercial_type="PLAY2-NANO", root_type="l_ssd")

    def test_a_zone_that_does_not_exist_is_refused_with_those_that_do(self):
        self.refused(self.service(), "the zone 'fr-par-9' is not one that is known", "nl-ams-1", target={"zone": "fr-par-9"})

    def test_a_wrong_token_is_told_and_stands_nowhere(self):
        s = self.service()
        s.knows = lambda token: False
        self.refused(s, "answered 401", "check the target's `token`")

    def test_a_token_that_may_only_read_changes_nothing(self):
        s = self.service(may_write=False)
        self.assert_says(self.apply(s, instance(), code=1), "answered 403", "instance: write", "the API key needs a policy")
        self.assertEqual(s.servers, {})

    def test_a_secret_in_an_attribute_is_refused(self):
        s = self.service()
        self.assert_says(self.apply(s, instance(cloud_init="token: ${{ secrets.SCW_TOKEN }}"), code=2), "`cloud_init` of 'web' holds a secret")

    def test_ports_that_are_none_are_refused(self):
        s = self.service()
        self.assert_says(self.apply(s, group(rules=[{"ports": "0"}, {"ports": "90-80"}, {"protocol": "ICMP", "ports": "8"}]), code=2), "'0' is neither", "'90-80' is neither", "ICMP has no ports")

    def test_no_token_stands_in_journal_or_output(self):
        s = self.service()
        result = self.apply(s, instance())
        from servers.scaleway import TOKEN
        self.assertNotIn(TOKEN, result.text)
        for path, data in self.t.files_of(self.t.state, self.t.base):
            self.assertNotIn(TOKEN.encode(), data, path)


if __name__ == "__main__":
    main(Lanes(8))
