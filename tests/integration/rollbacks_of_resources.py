#!/usr/bin/env python3
"""Going back behind a committed `apply`: files, links, directories and lines are as they were before, over a real sshd, or the rollback is refused
before its first change."""
import json
import os
import pathlib
import shutil

from harness.trial import Case, Trial, main
from servers.sshd import Sshd


class Resources(Case):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Sshd())
        cls.secrets = {"KEY": pathlib.Path(cls.server.key).read_text()}

    def setUp(self):
        self.t = self.enterContext(Trial())
        self.etc = pathlib.Path(self.t.path("etc"))

    def deploy(self, *resources, code=0, allow=(), more=(), args=(), **step):
        apply = {"resources": list(resources), **({"allow_destroy": [f"{kind}:{self.etc / name}" for kind, name in allow]} if allow else {}), **step}
        target = self.server.target(base=self.t.base)
        target["ssh"]["key"] = "${{ secrets.KEY }}"
        result = self.t.deploy({"targets": {"web": target}, "steps": [{"apply": apply, "id": "etc"}, *more]}, *args, secrets=self.secrets)
        self.assert_exit(result, code)
        return result

    def file(self, name, content, **more):
        return {"file": {"path": str(self.etc / name), "content": content, **more}}

    def link(self, name, to):
        return {"link": {"path": str(self.etc / name), "to": to}}

    def directory(self, name, **more):
        return {"directory": {"path": str(self.etc / name), **more}}

    def world(self):
        """All there is, with bytes, modes, times of files, and link targets."""
        found = {}
        for path in sorted(pathlib.Path(self.t.target_dir).rglob("*")):
            st = path.lstat()
            what = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else "directory"
            found[str(path)] = (what, oct(st.st_mode), st.st_mtime_ns if path.is_file() and not path.is_symlink() else None)
        return found

    def back(self, *words, code=0):
        result = self.t.run("rollback", "last", "--secret", "KEY", *words, env=self.secrets)
        self.assert_exit(result, code)
        return result

    def kept(self):
        top = pathlib.Path(self.t.base) / "former" / "shop.test"
        return sorted(p.name for p in top.iterdir()) if top.is_dir() else []

    def first(self):
        """Version 1, made by davit."""
        self.deploy(self.directory("", mode="0755"), self.file("app.conf", "one\n", mode="0640"), self.file("gone.conf", "still here\n"),
                    self.file("mode.conf", "same\n", mode="0600"), self.link("now", "app.conf"), self.file("kind", "a file\n"))
        os.utime(self.etc / "app.conf", ns=(1, 1_600_000_000_123_456_789))

    def second(self, *more, **options):
        """Changes all of it: content, mode, link, kind; one goes, one comes, with a directory above it."""
        return self.deploy(self.directory("", mode="0755"), self.file("app.conf", "two\n", mode="0600"), self.file("mode.conf", "same\n", mode="0644"),
                           self.link("now", "mode.conf"), self.link("kind", "app.conf"), self.file("new.d/sub/x.conf", "new\n"), *more,
                           allow=[("file", "gone.conf"), ("file", "kind")], **options)

    def test_all_of_it_is_as_before_and_managed_as_before_and_again_as_after(self):
        self.first()
        before = self.world()
        self.second()
        after = self.world()
        self.assertNotEqual(after, before)
        plan = self.back("--plan")
        self.assert_says(plan, f"web {self.etc / 'app.conf'}", "as before that deployment", "destroy")
        self.assertEqual(self.world(), after)
        self.back()
        self.assertEqual(self.world(), before)
        # Its rows are those of before: nothing is to be changed for the first description, and the new file would be made, not adopted.
        nothing = self.deploy(self.directory("", mode="0755"), self.file("app.conf", "one\n", mode="0640"), self.file("gone.conf", "still here\n"),
                              self.file("mode.conf", "same\n", mode="0600"), self.link("now", "app.conf"), self.file("kind", "a file\n"), args=("--plan",))
        self.assert_says(nothing, "Nothing to change")
        # A rollback is rolled back, too.
        self.back()
        self.assertEqual({path: seen[:2] for path, seen in self.world().items()}, {path: seen[:2] for path, seen in after.items()})
        self.assertEqual(len(self.kept()), 1)

    def test_what_was_there_before_davit_came_has_its_content_again_and_is_managed_no_more(self):
        self.t.write("etc/app.conf", b"by hand\n", 0o600)
        self.t.write("etc/list", b"a\nb\n", 0o644)
        before = self.world()
        self.deploy(self.file("app.conf", "by davit\n"), {"lines": {"path": str(self.etc / "list"), "lines": [{"line": "c"}]}})
        self.assertEqual(self.t.read("etc/list"), b"a\nb\nc\n")
        self.back()
        self.assertEqual(self.world(), before)
        # Managed no more: a description without them takes nothing away.
        self.assert_says(self.deploy(args=("--plan",)), "Nothing to change")

    def test_what_somebody_changed_since_refuses_it_and_force_goes_over_it(self):
        self.first()
        before = self.world()
        self.second()
        (self.etc / "app.conf").write_text("by hand\n")
        after = self.world()
        for words in ((), ("--plan",)):
            self.assert_says(self.back(*words, code=2), f"'{self.etc / 'app.conf'}' on 'web' is not as that deployment left it", "--force")
            self.assertEqual(self.world(), after)
        self.back("--force")
        self.assertEqual(self.world(), before)

    def test_a_directory_with_what_others_laid_into_it_stays_and_is_named(self):
        self.first()
        self.second()
        (self.etc / "new.d/sub/other").write_text("not from here\n")
        result = self.back()
        self.assert_says(result, f"not taken back: web:{self.etc / 'new.d/sub'}", "other things lie in the directory")
        self.assertEqual([p.name for p in (self.etc / "new.d/sub").iterdir()], ["other"])
        self.assertEqual(self.t.read("etc/app.conf"), b"one\n")

    def test_a_content_that_is_gone_or_another_refuses_it_before_the_first_change(self):
        self.first()
        self.second()
        after = self.world()
        (folder,) = [pathlib.Path(self.t.base) / "former/shop.test" / name for name in self.kept()]
        self.assertEqual(oct(folder.stat().st_mode), oct(0o40700))
        for kept in folder.iterdir():
            kept.write_text("what an attacker would like to have there\n")
        self.assert_says(self.back(code=2), "was before is gone", "--force")
        self.assertEqual(self.world(), after)
        shutil.rmtree(folder)
        self.assert_says(self.back("--plan", code=2), "was before is gone")
        # What can be had comes back, the rest stays as it is, and is named.
        result = self.back("--force")
        self.assert_says(result, f"not taken back: web:{self.etc / 'app.conf'} (apply): what it was before is gone")
        self.assertEqual((self.t.read("etc/app.conf"), (self.etc / "mode.conf").stat().st_mode & 0o777, os.readlink(self.etc / "now")),
                         (b"two\n", 0o600, "app.conf"))
        self.assertFalse((self.etc / "new.d").exists())

    def test_one_that_fails_behind_its_changes_is_taken_back_itself(self):
        self.first()
        gate = {"health-gate": {"deadline": "1s", "checks": [{"command": ["test", "-e", str(self.etc / "new.d/sub/x.conf")], "target": "web"}]}}
        self.second(more=[gate])
        after = self.world()
        self.back(code=1)
        self.assertEqual(self.world(), after)

    def test_only_the_newest_deployment_s_contents_are_kept(self):
        for text in ("one\n", "two\n", "three\n"):
            self.deploy(self.file("app.conf", text))
        (last,) = self.kept()
        files = list((pathlib.Path(self.t.base) / "former/shop.test" / last).iterdir())
        self.assertEqual([f.read_bytes() for f in files], [b"two\n"])
        # Nothing changes: what is kept stays, since that deployment is stepped over.
        self.deploy(self.file("app.conf", "three\n"))
        self.assertEqual(self.kept(), [last])


if __name__ == "__main__":
    main()
