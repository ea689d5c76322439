#!/usr/bin/env python3
"""compose-up with a real engine: it brings a stack up, leaves an unchanged one alone, and goes back to exactly what ran."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness.stack import StackCase, main, service  # noqa: E402

FAILS = {"run": {"command": ["false"], "undo": "none"}}


class ComposeUp(StackCase):
    def test_a_stack_is_started_watched_and_committed(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(), "worker": service()}})
            result = s.up()
            self.assert_exit(result, 0)
            self.assertEqual({n: len(l) for n, l in s.containers().items()}, {"web": 1, "worker": 1})
            self.assert_says(result, "web: local/web:1 (here)", "worker: local/web:1 (here)")

    def test_an_unchanged_stack_is_not_touched_and_its_plan_is_empty(self):
        with self.stack() as s:
            s.file("web.env", "A='b$c'\n")
            s.compose({"services": {"web": service(env_file=["web.env"], environment={"X": "a$$b"})}})
            self.assert_exit(s.up(), 0)
            before, kept = s.ids(), s.kept()
            result = s.up()
            self.assert_exit(result, 0)
            self.assert_says(result, "nothing to change")
            self.assertEqual((s.ids(), s.kept()), (before, kept))

    def counted(self, s):
        """The engine's configuration for the docker command, whose compose notes in a file what it is asked."""
        config, log = s.path("config"), s.path("asked")
        os.makedirs(os.path.join(config, "cli-plugins"))
        plugin = os.path.join(config, "cli-plugins", "docker-compose")
        with open(plugin, "w", encoding="ascii") as f:
            f.write(f'#!/bin/sh\necho "$*" >>{log}\nexec {self.docker.config}/cli-plugins/docker-compose "$@"\n')
        os.chmod(plugin, 0o755)

        def asked():
            with open(log, encoding="utf-8") as f:
                lines = f.read().splitlines()
            os.truncate(log, 0)
            return [line for line in lines if "docker-cli-plugin-metadata" not in line]
        return config, asked

    def test_compose_is_not_asked_again_until_something_that_it_reads_or_a_container_differs(self):
        with self.stack() as s:
            config, asked = self.counted(s)
            s.file("web.env", "A=1\nB=${OUTER:-none}\n")
            s.file("more.yml", json.dumps({"services": {"worker": service(environment=["C", "D=${D:-d}"])}}))
            s.file("base.yml", json.dumps({"services": {"common": service(labels={"x": "y"})}}))
            s.compose({"include": ["more.yml"], "services": {"web": {"extends": {"file": "base.yml", "service": "common"}, "env_file": "web.env"}}})
            known = {"docker_config": config, "env": {"C": "c"}, "allow_empty": ["OUTER"]}
            self.assert_exit(s.up(**known), 0)

            def plan(**more):
                asked()
                result = s.up(options=["--plan"], **{**known, **more})
                self.assert_exit(result, 0)
                return result, asked()
            ids = s.ids()
            result, calls = plan()
            self.assert_says(result, "Nothing to change")
            self.assertEqual(calls, [])
            for name, text in (("web.env", "A=2\n"), ("more.yml", json.dumps({"services": {"worker": service("2")}})), (".env", "D=other\n"),
                               ("base.yml", json.dumps({"services": {"common": service("2")}})), ("compose.override.yml", "services: {web: {labels: {a: b}}}")):
                with self.subTest(changed=name):
                    path = os.path.join(s.home, name)
                    before = open(path, encoding="utf-8").read() if os.path.exists(path) else None
                    s.file(name, text)
                    result, calls = plan()
                    self.assertNotEqual(calls, [])
                    self.assert_silent(result, "Nothing to change")
                    os.unlink(path)
                    if before is not None:
                        s.file(name, before)
                    self.assertEqual(plan()[1], [])
            for name, more in (("a variable of the env file", {"env": {"C": "c", "OUTER": "o"}}), ("one without a value", {"env": {"C": "other"}}),
                               ("a default", {"env": {"C": "c", "D": "e"}})):
                with self.subTest(changed=name):
                    result, calls = plan(**more)
                    self.assertNotEqual(calls, [])
                    self.assert_silent(result, "Nothing to change")
            self.assertEqual(s.ids(), ids)
            self.docker.run("stop", "-t", "0", s.containers()["worker"][0]["Id"])
            self.assert_silent(plan()[0], "Nothing to change")
            self.assert_exit(s.up(**known), 0)
            self.assert_says(s.up(**known), "nothing to change")

    def test_paths_that_a_variable_decides_are_asked_of_compose_each_time(self):
        with self.stack() as s:
            config, asked = self.counted(s)
            s.file("one.env", "A=1\n")
            s.compose({"services": {"web": service(env_file=["${WHICH}.env"])}})
            known = {"docker_config": config, "env": {"WHICH": "one"}}
            self.assert_exit(s.up(**known), 0)
            asked()
            self.assert_says(s.up(**known), "nothing to change")
            self.assertNotEqual(asked(), [])

    def test_a_stack_that_compose_started_by_hand_is_not_touched_when_its_files_are_the_same(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(), "worker": service("2")}})
            self.docker.compose(s.project, "up", "-d", cwd=s.home)
            before = s.ids()
            result = s.up()
            self.assert_exit(result, 0)
            self.assertEqual(s.ids(), before)

    def test_what_differs_is_replaced_and_the_rest_stays(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(), "worker": service()}})
            self.assert_exit(s.up(), 0)
            before = s.ids()
            s.compose({"services": {"web": service("2"), "worker": service()}})
            self.assert_exit(s.up(), 0)
            after = s.ids()
            self.assertEqual(after["worker"], before["worker"])
            self.assertNotEqual(after["web"], before["web"])

    def test_a_failure_behind_it_brings_back_images_configuration_and_services(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(environment={"MODE": "old"}), "gone": service()}})
            self.assert_exit(s.up(), 0)
            before, kept = s.facts(), s.kept()
            s.compose({"services": {"web": service("2", environment={"MODE": "new"}), "added": service("3")}})
            result = s.up(FAILS)
            self.assert_exit(result, 1)
            self.assertEqual(s.facts(), before)
            self.assertEqual(s.kept(), kept)
            self.assertEqual(s.last()["state"], "undone")

    def test_a_tag_that_moved_goes_back_with_its_containers(self):
        with self.stack() as s:
            self.docker.run("tag", "local/web:1", "local/moving:latest")
            s.compose({"services": {"web": {**service(), "image": "local/moving:latest"}}})
            self.assert_exit(s.up(), 0)
            before = s.facts()
            self.docker.run("tag", "local/web:2", "local/moving:latest")
            self.assert_exit(s.up(FAILS), 1)
            self.assertEqual(s.facts(), before)
            one, two = (self.docker.inspect(n)[0]["Id"] for n in ("local/moving:latest", "local/web:1"))
            self.assertEqual(one, two)

    def test_a_first_deployment_that_fails_leaves_no_container_and_no_network(self):
        with self.stack() as s:
            s.compose({"services": {"web": service()}})
            self.assert_exit(s.up(FAILS), 1)
            self.assertEqual(s.containers(), {})
            self.assertEqual(self.docker.run("network", "ls", "-q", "--filter", f"label=com.docker.compose.project={s.project}"), "")
            self.assertEqual(s.kept(), [])

    def test_a_stack_that_compose_started_by_hand_comes_back_too(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(environment={"MODE": "by hand"}, scale=2), "worker": service()}})
            self.docker.compose(s.project, "up", "-d", cwd=s.home)
            before = s.facts()
            s.compose({"services": {"web": service("2")}}, "new.yml")
            self.assert_exit(s.up(FAILS, files=["new.yml"]), 1)
            self.assertEqual(s.facts(), before)

    def test_a_stack_whose_files_are_gone_is_refused_unless_that_is_accepted(self):
        with self.stack() as s:
            s.compose({"services": {"web": service()}})
            self.docker.compose(s.project, "up", "-d", cwd=s.home)
            before = s.ids()
            s.compose({"services": {"web": service("2")}})
            result = s.up()
            self.assert_exit(result, 2)
            self.assert_says(result, "could not be brought back", "forget_former")
            self.assertEqual(s.ids(), before)
            self.assert_exit(s.up(forget_former=True), 0)

    def test_a_failure_behind_what_took_the_place_of_something_unknown_leaves_it_running_and_says_so(self):
        with self.stack() as s:
            s.compose({"services": {"web": service()}})
            self.docker.compose(s.project, "up", "-d", cwd=s.home)
            s.compose({"services": {"web": service("2")}})
            result = s.up(FAILS, forget_former=True)
            self.assert_exit(result, 4)
            self.assert_says(result, "is not known (`forget_former`)")
            self.assertIn("VERSION=2", s.containers()["web"][0]["Config"]["Env"])

    def test_what_one_service_waits_for_runs_once_and_only_then_the_rest(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(depends_on={"migrate": {"condition": "service_completed_successfully"}}),
                                    "migrate": {"image": "local/tool:1", "command": ["echo", "migrated"]}}})
            result = s.up()
            self.assert_exit(result, 0)
            self.assert_says(result, "migrate ran to its end")
            self.assertEqual(s.containers()["migrate"][0]["State"]["ExitCode"], 0)
            before = s.ids()
            again = s.up()
            self.assert_exit(again, 0)
            self.assertEqual(s.ids(), before, "an unchanged stack migrates nothing")
            s.compose({"services": {"web": service("2", depends_on={"migrate": {"condition": "service_completed_successfully"}}),
                                    "migrate": {"image": "local/tool:1", "command": ["echo", "migrated", "again"]}}})
            self.assert_exit(s.up(FAILS), 1)
            migrate = s.containers()["migrate"][0]
            self.assertEqual(migrate["Config"]["Cmd"], ["echo", "migrated"])
            self.assertEqual(migrate["State"]["Status"], "created", "an undo does not run the former migration")

    def test_secrets_reach_the_containers_and_neither_log_nor_journal(self):
        with self.stack() as s:
            s.compose({"services": {"web": service(environment={"TOKEN": "${TOKEN}"})}})
            secret = "never-to-be-seen-4711"
            result = s.up(env={"TOKEN": "${{ secrets.TOKEN }}"}, secrets={"TOKEN": secret})
            self.assert_exit(result, 0)
            self.assertIn(f"TOKEN={secret}", s.containers()["web"][0]["Config"]["Env"])
            self.assert_silent(result, secret)
            for path, content in s.files_of(s.state):
                self.assertNotIn(secret.encode(), content, path)
            kept = os.path.join(s.base, "compose", s.project)
            for name in os.listdir(kept):
                self.assertEqual(os.stat(os.path.join(kept, name)).st_mode & 0o077, 0)

    def test_a_release_of_archive_upload_is_started_and_a_rollback_behind_it_starts_the_former_one(self):
        with self.stack() as s:
            os.makedirs(os.path.join(s.src, "app"))
            current = s.path("shop")

            def deploy(version):
                with open(os.path.join(s.src, "app", "compose.yml"), "w", encoding="utf-8") as f:
                    json.dump({"services": {"web": service(version), "once": {"image": "local/tool:1", "command": ["true"]}}}, f)
                upload = {"archive-upload": {"target": "web", "source": "app", "path": current}}
                return s.deploy(s.document(steps=[upload, s.step(directory=current + "/current", once=["once"])]), timeout=240)
            self.assert_exit(deploy("1"), 0)
            first = s.facts()
            self.assert_exit(deploy("2"), 0)
            self.assertNotEqual(s.facts(), first)
            second = s.last()["id"]
            result = s.run("rollback", second, timeout=240)
            self.assert_exit(result, 0)
            self.assertEqual(s.facts(), first)

    def test_only_the_newest_configurations_and_their_images_are_kept(self):
        with self.stack() as s:
            for number in range(4):
                s.compose({"services": {"web": service(environment={"N": str(number)})}})
                self.assert_exit(s.up(keep=2), 0)
            self.assertEqual(len([n for n in s.kept() if n.endswith(".json")]), 2)
            tags = self.docker.run("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=davit-kept/" + s.project).split()
            self.assertEqual(len(tags), 2)

    def test_an_image_whose_tag_moved_survives_a_prune(self):
        with self.stack() as s:
            old = self.docker.image("local/pruned:latest", env={"V": "old"})
            s.compose({"services": {"web": {**service(), "image": "local/pruned:latest"}}})
            self.assert_exit(s.up(), 0)
            self.docker.image("local/pruned:latest", env={"V": "new"})
            self.assert_exit(s.up(), 0)
            self.docker.run("image", "prune", "-f")
            self.assertEqual(self.docker.inspect(old)[0]["Id"], old)


if __name__ == "__main__":
    main()
