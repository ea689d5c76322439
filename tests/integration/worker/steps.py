#!/usr/bin/env python3
"""What a job's steps see and what becomes of them: conditions, environment, outputs, files, shells, masks, annotations."""
import hashlib
import http.server
import itertools
import json
import os
import re
import shutil
import ssl
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
from harness.waiting import alive, until
from servers.relay import Authority
from servers.worker import House, strip_colours


class Steps(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.house = House()
        cls.house.__enter__()
        cls.house.secrets(KEY="s3cr3t-value", MULTI="line one\nline two", SHORT="q7")

    @classmethod
    def tearDownClass(cls):
        cls.house.__exit__(None, None, None)

    def test_conditions_decide_by_the_jobs_state(self):
        run = self.house.run('''
            - {name: fails, run: exit 3}
            - {name: not run, run: echo}
            - {name: on failure, if: failure(), run: echo}
            - {name: always, if: always(), run: echo}
            - {name: on cancel, if: cancelled(), run: echo}
            - {name: by value, if: "always() && github.event_name == 'push' && steps.x == null", run: echo}
        ''')
        self.assertEqual(run.status, 102)
        self.assertEqual(run.conclusions(), {
            "Set up job": "success", "fails": "failure", "not run": "skipped", "on failure": "success", "always": "success",
            "on cancel": "skipped", "by value": "success", "Complete job": "success"})
        self.assertEqual(run.messages("fails"), [("failure", "Process completed with exit code 3.")])
        self.assertEqual([s["number"] for s in run.job["steps"]], [1, 2, 3, 4, 5, 6, 7, 8])

    def test_continue_on_error_keeps_the_job_good(self):
        run = self.house.run('''
            - {id: a, name: fails, run: exit 1, continue-on-error: true}
            - {id: b, name: by expression, run: exit 1, continue-on-error: "${{ steps.a.outcome == 'failure' }}"}
            - {name: looks, run: "test '${{ steps.a.outcome }} ${{ steps.a.conclusion }} ${{ job.status }}' = 'failure success success'"}
        ''')
        self.assertEqual((run.status, run.conclusion), (100, "success"))
        self.assertEqual(run.step("fails")["conclusion"], "success")

    def test_an_error_in_env_fails_the_job_in_spite_of_continue_on_error(self):
        run = self.house.run('''
            - name: broken
              run: echo never
              continue-on-error: true
              env: {A: "${{ fromJSON('[') }}"}
            - {name: next, run: echo}
        ''')
        self.assertEqual(run.conclusions()["broken"], "failure")
        self.assertEqual(run.conclusions()["next"], "skipped")
        self.assertNotIn("never", run.log("broken"))
        self.assertIn("fromJson", run.messages("broken")[0][1])

    def test_the_tool_cache_is_a_folder_that_exists(self):
        run = self.house.run("- {name: asks, run: 'test -d \"$RUNNER_TOOL_CACHE\" && echo is there'}")
        self.assertIn("is there", run.lines("asks"))

    def test_a_script_has_sigpipe_ignored_as_under_the_official_runner(self):
        run = self.house.run('''
            - name: asks
              run: |
                trap -p PIPE | sed 's/^/trap: /'
                yes | head -n 1
                echo "yes ended with ${PIPESTATUS[0]}"
            - {name: fails, shell: bash, run: yes | head -n 1}
        ''')
        lines = run.lines("asks")
        self.assertIn("trap: trap -- '' SIGPIPE", lines)
        self.assertIn("yes: standard output: Broken pipe", lines)
        self.assertIn("yes ended with 1", lines)
        self.assertEqual(run.messages("fails"), [("failure", "Process completed with exit code 1.")])

    def test_the_environment_has_its_layers(self):
        run = self.house.run('''
            - name: sets
              run: |
                echo "FROM_FILE=file" >> "$GITHUB_ENV"
                echo "LEVEL=github" >> "$GITHUB_ENV"
                printf 'LINES<<EOF\\none\\ntwo\\nEOF\\n' >> "$GITHUB_ENV"
                echo "GITHUB_SHA=forged" >> "$GITHUB_ENV"
                printf '%s\\n' NODE_OPTIONS=--x Node_Options=--y >> "$GITHUB_ENV"
                mkdir -p "$RUNNER_TEMP/bin" && printf '#!/bin/sh\\necho found\\n' > "$RUNNER_TEMP/bin/tool" && chmod +x "$RUNNER_TEMP/bin/tool"
                echo "$RUNNER_TEMP/bin" >> "$GITHUB_PATH"
            - name: sees
              env: {LEVEL: step, OWN: "${{ env.FROM_FILE }}-${{ env.LEVEL }}"}
              run: |
                tool
                echo "level=$LEVEL own=$OWN workflow=$WORKFLOW job=$JOB ci=$CI sha=$GITHUB_SHA"
                echo "$LINES" | tr '\\n' ,
                echo
                echo "repo=$GITHUB_REPOSITORY os=$RUNNER_OS name=$RUNNER_NAME ws=$(basename $GITHUB_WORKSPACE) pwd=$(basename $PWD)"
                test -s "$GITHUB_EVENT_PATH" && test -z "$ACTIONS_RUNTIME_TOKEN" && echo "${NODE_OPTIONS:-none}"
        ''', workflow="env: {LEVEL: workflow, WORKFLOW: w}", job="env: {LEVEL: job, JOB: j}")
        self.assertEqual(run.conclusion, "success", run.shown)
        lines = run.lines("sees")
        self.assertIn("found", lines)
        self.assertIn(f"level=step own=file-github workflow=w job=j ci=true sha={self.house.sha}", lines)
        self.assertIn("one,two,", lines)
        self.assertIn("repo=octo/demo os=Linux name=box-1 ws=demo pwd=demo", lines)
        self.assertIn("none", lines)
        self.assertEqual(run.messages("sets"), [("failure", "Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.")] * 2)

    def test_outputs_reach_later_steps_and_the_jobs_outputs(self):
        run = self.house.run('''
            - id: one
              run: |
                echo "plain=1=2" >> "$GITHUB_OUTPUT"
                printf 'many<<X\\na\\nb\\nX\\n' >> "$GITHUB_OUTPUT"
                echo "::set-output name=old::by%20command%0Aline"
                echo "PLAIN=last" >> "$GITHUB_OUTPUT"
                echo "leak=${{ secrets.KEY }}" >> "$GITHUB_OUTPUT"
            - name: reads
              run: echo '${{ toJSON(steps.one.outputs) }}'
        ''', job='''outputs:
  plain: ${{ steps.one.outputs.plain }}
  leak: x${{ steps.one.outputs.leak }}
  none: ${{ steps.one.outputs.none }}
  many: ${{ steps.one.outputs.many }}''')
        self.assertEqual(run.job["outputs"], {"plain": "last", "many": "a\nb"})
        text = run.log("reads")
        self.assertIn('"plain": "last"', text)
        self.assertIn('"many": "a\\nb"', text)
        self.assertIn("Skip output 'leak' since it may contain secret.", run.log("Complete job"))

    def test_what_a_failed_step_wrote_counts_and_the_directory_that_came_last_is_first(self):
        run = self.house.run('''
            - id: fails
              continue-on-error: true
              run: |
                echo out=1 >> "$GITHUB_OUTPUT"
                echo SET=1 >> "$GITHUB_ENV"
                printf '%s\\n' "$RUNNER_TEMP/one" "$RUNNER_TEMP/two" >> "$GITHUB_PATH"
                exit 1
            - {name: reads, run: 'echo "$PATH $SET ${{ steps.fails.outputs.out }}"; echo "$RUNNER_TEMP/one" >> "$GITHUB_PATH"'}
            - {name: again, run: 'echo "$PATH"'}
            - {name: known, run: "echo '${{ toJSON(steps) }}'"}
        ''')
        one, two = self.house.temp("one"), self.house.temp("two")
        self.assertEqual(run.conclusion, "success", run.shown)
        self.assertRegex(run.lines("reads")[-1], f"^{two}:{one}:.* 1 1$")
        self.assertRegex(run.lines("again")[-1], f"^{one}:{two}:")
        # steps without an id of their own have neither outputs nor outcome
        told = [strip_colours(line) for line in run.lines("known")]
        self.assertEqual(list(json.loads("\n".join(told[len(told) - told[::-1].index("{") - 1:]))), ["fails"])

    def test_names_of_the_runner_that_a_step_sets_are_shown_and_not_believed(self):
        run = self.house.run('''
            - {run: 'printf "%s\\n" CI=mine HOME=/nowhere GITHUB_NEW=1 RUNNER_NEW=2 RUNNER_OS=Fake >> "$GITHUB_ENV"'}
            - {name: sees, run: 'echo "$CI $HOME $GITHUB_NEW $RUNNER_NEW $RUNNER_OS ${{ env.RUNNER_OS }}"'}
        ''')
        self.assertEqual(run.lines("sees")[-1], "mine /nowhere 1 2 Linux Fake")
        self.assertIn("  RUNNER_OS: Fake", run.lines("sees"))

    def test_the_defaults_of_a_job_replace_those_of_its_workflow_as_a_whole(self):
        run = self.house.run('''
            - {name: make, run: mkdir -p sub, working-directory: "${{ github.workspace }}"}
            - {name: looks, run: 'basename "$PWD"; tr "\\0" " " < /proc/$$/cmdline'}
        ''', workflow="defaults: {run: {shell: sh, working-directory: not-there}}", job="defaults: {run: {working-directory: sub}}")
        self.assertEqual(run.conclusion, "success", run.shown)
        self.assertIn("sub", run.lines("looks"))
        self.assertRegex(run.lines("looks")[-1], "/bash -e ")

    def test_a_malformed_command_file_fails_the_step_and_keeps_what_came_before(self):
        run = self.house.run('''
            - {id: one, name: bad, run: 'printf "good=1\\nA<<E\\nv" >> "$GITHUB_OUTPUT"; echo ok >> "$GITHUB_STEP_SUMMARY"'}
            - {name: next, if: always(), run: "echo 'got ${{ steps.one.outputs.good }}'"}
            - {name: each, if: always(), run: 'for i in "$GITHUB_OUTPUT" "$GITHUB_STATE" "$GITHUB_ENV"; do echo odd >> "$i"; done'}
        ''')
        self.assertEqual([m.split("'")[1] for _, m in run.messages("each") if "'odd'" not in m], ["env", "state", "output"])
        self.assertEqual(run.conclusions()["bad"], "failure")
        self.assertEqual([m for _, m in run.messages("bad")], ["Unable to process file command 'output' successfully.",
                                                               "Invalid value. EOF marker missing new line."])
        self.assertIn("got 1", run.lines("next"))
        self.assertEqual(run.step("bad")["summary"], "ok\n")

    def test_workflow_commands_make_annotations(self):
        run = self.house.run('''
            - name: says
              run: |
                echo "::error file=src/a.c,line=3,endLine=5,col=2,title=T%3AX::broken%0Asecond"
                echo "::warning file=$GITHUB_WORKSPACE/src/b.c,endLine=4::w"
                echo "::notice::n"
                echo "before ##[group]G"
                echo "##[endgroup]"
                echo "::unknown::x"
                echo "::debug::hidden"
                echo "::stop-commands::tok-1234567"
                echo "::error::not one"
                echo "::tok-1234567::"
                echo "::error::after"
                for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo "::warning::many $i"; done
        ''')
        notes = run.annotations("says")
        self.assertEqual(notes[0], {"level": "failure", "message": "broken\nsecond", "title": "T:X", "path": "src/a.c",
                                    "startLine": 3, "endLine": 5, "stepNumber": 2})
        self.assertEqual((notes[1]["path"], notes[1]["startLine"], notes[1]["endLine"]), ("src/b.c", 4, 4))
        self.assertEqual(notes[2]["level"], "notice")
        self.assertEqual(len([n for n in notes if n["level"] == "warning"]), 10)
        self.assertEqual([n["message"] for n in notes if n["level"] == "failure"], ["broken\nsecond", "after"])
        lines = run.lines("says")
        for line in ("##[group]G", "::unknown::x", "::error::not one", "##[warning]many 12", "##[error]after"):
            self.assertIn(line, lines)
        self.assertNotIn("hidden", [line for line in lines if not line.startswith("\x1b")])
        self.assertEqual(run.conclusion, "success")

    def test_places_of_annotations_follow_the_rules_one_after_the_other(self):
        run = self.house.run('''
            - name: says
              run: |
                echo "::error file=a.c,line=3,endColumn=9::end alone"
                echo "::error file=a.c,col=2,endColumn=9::no line"
                echo "::error file=a.c,line=7,endLine=3::backwards"
                echo "::error file=a.c,line=3,col=9,endColumn=2::columns backwards"
                echo "::error file=a.c,line=3,endLine=3,col=2,endColumn=4::whole"
                echo "::error file=a.c,line=0,col=4::zero"
                echo "::error file=a.c,line=-4::below"
                echo "::error::no place"
                echo "::error::$(head -c 5000 /dev/zero | tr '\\0' x)"
                echo "::error::$(printf ' ')"
        ''')
        notes = {n["message"]: {k: v for k, v in n.items() if k in ("startLine", "endLine", "startColumn", "endColumn")} for n in run.annotations("says")}
        self.assertEqual(notes["end alone"], {"startLine": 3, "endLine": 3, "startColumn": 9, "endColumn": 9})
        self.assertEqual((notes["no line"], notes["backwards"]), ({}, {}))
        self.assertEqual(notes["columns backwards"], {"startLine": 3, "endLine": 3})
        self.assertEqual(notes["whole"], {"startLine": 3, "endLine": 3, "startColumn": 2, "endColumn": 4})
        self.assertEqual(notes["zero"], {"startColumn": 4, "endColumn": 4})
        self.assertEqual(notes["below"], {"startLine": -4, "endLine": -4})
        line = run.lines("says").index("##[error]no place") + 1
        self.assertEqual(notes["no place"], {"startLine": line, "endLine": line})
        self.assertIn("x" * 4096, notes)
        self.assertEqual(len(notes), 9)                             # nothing is shown of one without words

    def test_disabled_and_unsupported_commands_fail_the_step_with_the_reason(self):
        run = self.house.run('''
            - {name: env, run: "echo '::set-env name=A::b'"}
            - {name: matcher, if: always(), run: "echo '::add-matcher::x.json'"}
            - {name: allowed, if: always(), env: {ACTIONS_ALLOW_UNSECURE_COMMANDS: "true"}, run: "echo '::set-env name=A::b'"}
            - {name: looks, if: always(), run: "echo A=$A"}
        ''')
        self.assertEqual([run.conclusions()[n] for n in ("env", "matcher", "allowed")], ["failure", "failure", "success"])
        self.assertIn("`set-env` command is disabled", run.messages("env")[1][1])
        self.assertIn("'x.json'", run.messages("matcher")[1][1])
        self.assertIn("A=b", run.lines("looks"))

    def test_problem_matchers_find_issues_in_the_output_of_later_steps(self):
        self.house.secrets(KEY="s3cr3t-value")
        matcher = json.dumps({"problemMatcher": [{"owner": "cc", "severity": "warning", "pattern": [
            {"regexp": r"^(.+):(\d+):(\d+): (?:(error|warning): )?(.*)$", "file": 1, "line": 2, "column": 3, "severity": 4, "message": 5}]}]})
        run = self.house.run(f'''
            - name: adds
              env: {{MATCHER: {json.dumps(matcher)}}}
              run: |
                git init -q . && git remote add origin "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY" && mkdir -p src && touch src/a.c
                git init -q other && git -C other remote add origin https://example.invalid/other && touch other/a.c
                printf '%s' "$MATCHER" > cc.json
                echo "before.c:1:1: error: nobody looks yet"
                echo "::add-matcher::cc.json"
                echo "src/a.c:1:2: error: at once"
            - name: finds
              env: {{KEY: "${{{{ secrets.KEY }}}}"}}
              run: |
                echo "src/a.c:12:3: error: wrong $KEY"
                echo "$PWD/src/a.c:4:5: loose"
                echo "gone.c:7:1: warning: no such file"
                echo "other/a.c:8:1: warning: of another repository"
                echo "an ordinary line"
            - {{name: removes, run: "echo '::remove-matcher owner=CC::'; echo 'src/a.c:1:1: error: not any more'"}}
            - {{name: bad, if: always(), run: "echo '{{\\"problemMatcher\\": 5}}' > bad.json; echo '::add-matcher::bad.json'"}}
        ''')
        self.assertEqual([run.conclusions()[n] for n in ("adds", "finds", "removes", "bad")], ["success", "success", "success", "failure"])
        found = [(a["level"], a["message"], a.get("path"), a["startLine"], a.get("startColumn")) for a in run.annotations("finds")]
        self.assertEqual(found, [("failure", "wrong ***", "src/a.c", 12, 3), ("warning", "loose", "src/a.c", 4, 5), ("warning", "no such file", None, 7, 1),
                                 ("warning", "of another repository", None, 8, 1)])
        self.assertEqual([a["message"] for a in run.annotations("adds")], ["at once"])
        self.assertIn("##[error]src/a.c:12:3: error: wrong ***", run.lines("finds"))
        self.assertIn("an ordinary line", run.lines("finds"))
        self.assertEqual(run.annotations("removes"), [])
        self.assertIn("'problemMatcher' is no list", run.messages("bad")[1][1])

    def test_what_a_step_began_to_match_ends_with_it_and_errors_do_not_interrupt_the_output(self):
        matcher = json.dumps({"problemMatcher": [{"owner": "two", "pattern": [
            {"regexp": "^in (.*)$", "file": 1}, {"regexp": r"^  (\d+) (.*)$", "line": 1, "message": 2, "loop": True}]}]})
        run = self.house.run(f'''
            - {{name: adds, env: {{MATCHER: {json.dumps(matcher)}}}, run: 'printf %s "$MATCHER" > two.json; echo "::add-matcher::two.json"; echo "in a.c"'}}
            - {{name: next, run: "echo '  1 not this one'"}}
            - {{name: both, run: "echo 'in b.c'; echo beside >&2; echo '  2 this one'"}}
            - {{name: ends, run: "echo '::remove-matcher owner=two::'; echo '::warning::'"}}
            - {{name: echoes, if: always(), run: "echo '::echo::on'; echo '::group::g'; echo '::endgroup::'; echo '::echo::on x'"}}
        ''')
        self.assertEqual([(a["message"], a["startLine"]) for n in ("adds", "next", "both") for a in run.annotations(n)], [("this one", 2)])
        self.assertEqual((run.lines("ends")[-1], run.annotations("ends")), ("##[endgroup]", []))
        self.assertEqual(run.lines("echoes")[4:9], ["::group::g", "##[group]g", "::endgroup::", "##[endgroup]", "::echo::on x"])
        self.assertIn("Invalid echo command value. Possible values can be: 'on', 'off'. Current value is: 'on x'.", run.log("echoes"))

    def test_secrets_never_show(self):
        run = self.house.run('''
            - name: "names ${{ secrets.KEY }}"
              env: {KEY: "${{ secrets.KEY }}", MULTI: "${{ secrets.MULTI }}", SHORT: "${{ secrets.SHORT }}"}
              run: |
                echo "plain $KEY and $SHORT"
                printf 'user:%s' "$KEY" | base64
                echo "$MULTI"
                printf '%s' "$KEY" >&2; echo >&2
                python3 -c 'import json,os,urllib.parse;print(json.dumps(os.environ["MULTI"]), urllib.parse.quote(os.environ["MULTI"]))'
                echo "::add-mask::late-value"
                echo "late-value $KEY" >> "$GITHUB_STEP_SUMMARY"
                echo "::error title=$KEY::it was $KEY"
                echo "token $(printf late-value)"
        ''')
        whole = repr(run.shown)
        for secret in ("s3cr3t-value", "line one", "line two", "czNjcjN0", "line%20one"):
            self.assertNotIn(secret, whole)
        name = [s["name"] for s in run.job["steps"] if s["name"].startswith("names")][0]
        self.assertEqual(name, "names ***")
        lines = run.lines(name)
        self.assertIn("plain *** and ***", lines)
        self.assertIn("token ***", lines)
        self.assertIn('"***" ***', lines)
        self.assertEqual(run.step(name)["summary"], "*** ***\n")
        self.assertEqual(run.annotations(name)[0]["message"], "it was ***")

    def test_short_lines_of_a_secret_are_not_masked_and_that_is_said_once(self):
        self.house.secrets(KEY="s3cr3t-value", MULTI="line one\nline two", SHORT="q7", LETTERS="a\nb")
        self.addCleanup(self.house.secrets, KEY="s3cr3t-value", MULTI="line one\nline two", SHORT="q7")
        run = self.house.run('''
            - name: prints
              env: {LETTERS: "${{ secrets.LETTERS }}"}
              run: |
                echo "a bad cabbage"
                python3 -c 'import json,os;print(json.dumps(os.environ["LETTERS"]))'
                echo "::add-mask::x%0Ay"
        ''')
        self.assertIn("a bad cabbage", run.lines("prints"))
        self.assertIn('"***"', run.lines("prints"))
        said = [line for name in ("Set up job", "prints") for line in run.lines(name) if "fewer than 4 characters" in line]
        self.assertEqual(len(said), 1)

    def test_long_secrets_are_masked_before_anything_is_cut(self):
        secret = "".join(chr(97 + (i * i + i // 7) % 26) for i in range(3000))
        self.house.secrets(KEY="s3cr3t-value", MULTI="line one\nline two", SHORT="q7", LONG=secret)
        run = self.house.run("""
            - name: prints
              env: {LONG: "${{ secrets.LONG }}"}
              run: |
                python3 -c 'import os; print("a" * ((16 << 20) - 1500) + os.environ["LONG"] + "end")'
                echo "::set-env name=x::$LONG"
                echo "::set-output name=plain::$LONG"
                echo "::error title=x$LONG::$LONG"
                echo "::stop-commands::"
                echo "$LONG" >> $GITHUB_OUTPUT
                echo "x<<$LONG" >> $GITHUB_ENV
                echo "$LONG" >> $GITHUB_STEP_SUMMARY
            - name: asks
              if: always()
              run: echo ${{ format('{0', secrets.LONG) }}
            - name: asks json
              if: always()
              env: {A: "${{ fromJSON(secrets.LONG) }}"}
              run: "true"
        """, change=lambda message: message["variables"].update(ACTIONS_STEP_DEBUG={"value": "true"}))
        whole = re.sub("a{64,}", "aa", repr(run.shown))  # 3,000 searches through 16 MiB would take minutes
        parts = sorted({secret[at:at + 8] for at in range(len(secret) - 8) if secret[at:at + 8] in whole})
        self.assertEqual(parts, [])
        self.assertIn("***end", whole)

    def test_a_command_file_that_is_no_file_fails_the_step_and_holds_nobody(self):
        makes = {"fifo": "mkfifo $F", "link": "ln -s /etc/passwd $F", "folder": "mkdir $F", "device": "mknod $F c 1 5 || mkfifo $F",
                 "socket": "python3 -c 'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' $F", "large": "truncate -s 65M $F"}
        steps = "".join(f"- {{name: {kind} {file}, if: always(), run: \"F=$GITHUB_{file}; rm $F; cd ${{F%/*}}; F=${{F##*/}}; {make}\"}}\n"
                        for kind, make in makes.items() for file in ("OUTPUT", "ENV", "PATH", "STATE", "STEP_SUMMARY"))
        started = time.monotonic()
        run = self.house.run(steps)
        self.assertLess(time.monotonic() - started, 30)
        for name, conclusion in run.conclusions().items():
            if name.split(" ")[0] in makes:
                self.assertEqual(conclusion, "failure", name)
                self.assertIn("is larger than" if name.startswith("large") else "is a symbolic link" if name.startswith("link")
                              else "is not a regular file", repr(run.messages(name)))

    def test_a_hundred_thousand_commands_cost_what_they_are(self):
        started = time.monotonic()
        run = self.house.run("""
            - name: outputs
              id: many
              run: for i in $(seq 100000); do echo "::set-output name=a$i::$i"; done
            - name: file
              id: file
              run: for i in $(seq 100000); do echo "a$i=$i"; done >> $GITHUB_OUTPUT
            - name: masks
              run: for i in $(seq 99999); do echo "::add-mask::secret-number-$i"; done; echo secret-number-77777
            - name: short masks
              if: always()
              run: for i in $(seq 20000 20100); do echo "::add-mask::$i"; done
            - name: folders
              if: always()
              run: for i in $(seq 100000); do echo "/opt/folder/$i"; done >> $GITHUB_PATH
            - name: asks
              if: always()
              run: echo "${{ steps.many.outputs.A77777 }} ${{ steps.file.outputs.a5 }}"
        """, timeout=100)
        self.assertLess(time.monotonic() - started, 60)
        self.assertIn("***", run.lines("masks"))
        self.assertIn("77777 5", run.lines("asks"))
        self.assertIn("more than 100000 masks", repr(run.messages("short masks")))
        self.assertIn("the directories added to PATH are longer than", repr(run.messages("folders")))

    def test_shells_get_their_exact_arguments(self):
        run = self.house.run('''
            - {name: implicit, run: "tr '\\\\0' ' ' < /proc/$$/cmdline; false | true; echo end"}
            - {name: bash, shell: bash, run: "tr '\\\\0' ' ' < /proc/$$/cmdline; echo"}
            - {name: pipefail, shell: bash, run: "false | true; echo not here"}
            - {name: sh, if: always(), shell: sh, run: "tr '\\\\0' ' ' < /proc/$$/cmdline; echo"}
            - {name: python, if: always(), shell: python3 -u {0} "two words", run: "import sys; print(sys.argv[1:], sys.argv[0][-5:])"}
            - {name: bad, if: always(), shell: perl, run: "print 1"}
            - {name: missing, if: always(), shell: "no-such-shell {0}", run: x}
            - {name: upper, if: always(), shell: BASH, run: x}
        '''.replace('python3 -u {0} "two words"', '\'python3 -u {0} "two words"\''))
        self.assertRegex(run.log("implicit"), r"bash -e \S+/_temp/[0-9a-f-]{36}\.sh ?end")
        self.assertRegex(run.log("bash"), r"bash --noprofile --norc -e -o pipefail \S+\.sh")
        self.assertEqual(run.conclusions()["pipefail"], "failure")
        self.assertRegex(run.log("sh"), r"sh -e \S+\.sh")
        self.assertIn("['two words']", run.log("python"))
        self.assertIn("Invalid shell option.", run.messages("bad")[0][1])
        self.assertEqual(run.lines("bad")[2:4], [f"shell: {shutil.which('perl')} ", "##[endgroup]"])
        self.assertIn("no-such-shell: command not found", run.messages("missing")[0][1])
        self.assertIn("BASH: command not found", run.messages("upper")[0][1])

    def test_a_step_s_own_path_is_for_its_programs_not_for_its_shell(self):
        run = self.house.run('''
            - {name: own, env: {PATH: /nowhere}, run: 'echo "by $PATH"'}
            - {name: sets, run: echo "PATH=/gone" >> "$GITHUB_ENV"}
            - {name: later, shell: bash, run: 'echo "by $PATH"'}
            - {name: none, run: "${{ '' }}"}
        ''')
        self.assertEqual(run.conclusion, "success", run.shown)
        self.assertEqual((run.lines("own")[-1], run.lines("later")[-1]), ("by /nowhere", "by /gone"))
        self.assertEqual(run.lines("none")[:2], ["##[group]Run ", "\x1b[36;1m\x1b[0m"])

    def test_defaults_and_working_directories(self):
        run = self.house.run('''
            - {name: make, run: "mkdir -p sub/deep && pwd", working-directory: "${{ github.workspace }}"}
            - {name: default, run: "basename $PWD; tr '\\\\0' ' ' < /proc/$$/cmdline"}
            - {name: own, run: "basename $PWD", working-directory: sub/deep}
            - {name: none, run: "echo", working-directory: not/there}
        ''', job="defaults: {run: {shell: bash, working-directory: sub}}")
        self.assertIn("sub", run.lines("default"))
        self.assertIn("--noprofile", run.log("default"))
        self.assertIn("deep", run.lines("own"))
        self.assertRegex(run.messages("none")[0][1], r"^An error occurred trying to start process '/usr/bin/bash' with working "
                                                     r"directory '/.*/not/there'\. No such file or directory$")

    def test_a_step_that_removes_the_temporary_directory_fails_no_later_one(self):
        run = self.house.run('''
            - {name: removes, run: 'rm -rf "$RUNNER_TEMP"'}
            - {name: goes on, id: later, run: 'test -s "$GITHUB_EVENT_PATH" && echo said=yes >> "$GITHUB_OUTPUT"'}
            - {name: knows, run: 'echo "${{ steps.later.outputs.said }}"'}
        ''')
        self.assertEqual(run.conclusion, "success")
        self.assertIn("yes", run.lines("knows"))

    def test_what_an_action_of_the_workspace_does_not_declare_is_told(self):
        run = self.house.run('''
            - run: |
                mkdir -p own
                echo 'name: own' > own/action.yml
                echo 'inputs: {known: {}}' >> own/action.yml
                echo 'runs: {using: composite, steps: [{run: echo, shell: sh}]}' >> own/action.yml
            - {name: own, uses: ./own, with: {known: 1, other: 2}}
        ''')
        self.assertEqual(run.messages("own"), [("warning", "Unexpected input(s) 'other', valid inputs are ['known']")])

    def test_inputs_that_are_old_or_unknown_are_told_in_the_step_s_spelling_and_in_that_order(self):
        run = self.house.run('''
            - run: |
                mkdir -p aged
                echo 'inputs: {level: {deprecationMessage: use depth}}' > aged/action.yml
                echo 'runs: {using: composite, steps: [{uses: ./aged/none, with: {any: 1}}]}' >> aged/action.yml
                mkdir -p aged/none
                echo 'runs: {using: composite, steps: [{run: echo, shell: sh}]}' > aged/none/action.yml
            - {name: aged, uses: ./aged, with: {LEVEL: 1, other: 2}}
        ''')
        self.assertEqual(run.messages("aged"), [
            ("warning", "Input 'LEVEL' has been deprecated with message: use depth"),
            ("warning", "Unexpected input(s) 'other', valid inputs are ['level']"),
            ("warning", "Unexpected input(s) 'any', valid inputs are ['']")])

    def test_the_default_directory_may_be_a_number_of_the_matrix(self):
        run = self.house.run("- {name: asks, run: pwd}", files={"18/keep": ""}, job='''
            strategy: {matrix: {version: [18]}}
            defaults: {run: {working-directory: "${{ matrix.version }}"}}
        ''', change=lambda message: os.makedirs(os.path.join(self.house.work, "demo/demo/18"), exist_ok=True))
        self.assertEqual(run.lines("asks")[-1], os.path.join(self.house.work, "demo/demo/18"))

    def test_a_message_that_names_no_server_is_of_the_registration_s(self):
        def forget(message):
            github = message["contextData"]["github"]
            github["d"] = [pair for pair in github["d"] if not pair["k"].endswith("_url")]
        run = self.house.run("- {name: asks, run: 'echo $GITHUB_SERVER_URL $GITHUB_API_URL $GITHUB_GRAPHQL_URL'}", change=forget)
        own = self.house.forge.url
        self.assertEqual(run.lines("asks")[-1], f"{own} {own}/api/v3 {own}/api/graphql")

    def test_proxies_are_told_and_known_in_both_spellings(self):
        run = self.house.run("- {name: asks, run: env | grep -i '_proxy=.' | LC_ALL=C sort}",
                             env={"HTTPS_PROXY": "user:hidden-word@192.0.2.1:3128", "no_proxy": "127.0.0.1,localhost,a.example",
                                  "https_proxy": "", "http_proxy": "", "HTTP_PROXY": "", "all_proxy": "", "ALL_PROXY": ""},
                             change=lambda message: message["variables"].update(actions_cache_mode={"value": "read"}))
        self.assertEqual(run.conclusion, "success", run.shown)
        url = "http://user:***@192.0.2.1:3128"
        self.assertEqual(run.lines("asks")[-4:], [f"HTTPS_PROXY={url}", "NO_PROXY=127.0.0.1,localhost,a.example", f"https_proxy={url}",
                                                  "no_proxy=127.0.0.1,localhost,a.example"])
        set_up = run.lines("Set up job")
        self.assertIn(f"Runner is running behind proxy server '{url}' for all HTTPS requests.", set_up)
        self.assertIn("Cache mode: read", set_up)

    def test_wrong_values_of_a_step_are_told_as_by_the_official_runner(self):
        run = self.house.run('''
            - name: env
              continue-on-error: true
              env:
                A: ${{ fromJSON('{') }}
                B: ${{ fromJSON('[1]') }}
              run: echo not here
            - name: minutes
              if: always()
              timeout-minutes: ${{ fromJSON('"x"') }}
              run: echo runs
            - {name: goes on, if: always(), continue-on-error: "${{ github.job }}", run: exit 3}
            - {name: not asked, if: always(), continue-on-error: "${{ github.job }}", run: echo}
        ''')
        place = r"^The template is not valid\. \.github/workflows/ci\.yml \(Line: \d+, Col: \d+\): "
        self.assertRegex(run.messages("env")[0][1], place + r"Error parsing fromJson.*,\.github/workflows/ci\.yml \(Line: \d+, "
                                                            r"Col: \d+\): A sequence was not expected$")
        self.assertRegex(run.messages("minutes")[1][1], place + "Unexpected value 'x'$")
        self.assertIn("runs", run.lines("minutes"))
        self.assertEqual((run.conclusions()["minutes"], run.messages("not asked")), ("success", []))
        self.assertRegex(run.messages("goes on")[-1][1], place + "Unexpected value 'build'$")

    def test_the_script_is_shown_in_the_header(self):
        run = self.house.run('''
            - run: |
                echo one
                echo two
              env: {A: b}
        ''')
        lines = run.lines("Run echo one")
        self.assertEqual(strip_colours("\n".join(lines[:7])).split("\n"),
                         ["##[group]Run echo one", "echo one", "echo two", "shell: /usr/bin/bash -e {0}", "env:", "  A: b",
                          "##[endgroup]"])
        self.assertEqual(lines[7:], ["one", "two"])

    def test_output_lines_end_in_three_ways_and_bytes_are_repaired(self):
        run = self.house.run(r'''
            - name: prints
              run: printf 'a\rb\r\nc\n\n\377d\ne'
        ''')
        lines = run.lines("prints")
        self.assertEqual(lines[lines.index("##[endgroup]") + 1:], ["a", "b", "c", "", "�d", "e"])

    def test_a_long_log_goes_up_in_blocks(self):
        mark, before = os.path.join(self.house.folder, "announced"), len(self.house.forge.requests("CreateStepLogsMetadata"))
        self.house.forge.faults(path="CreateStepLogsMetadata", times=-1, status=503)
        # A block whose answer was lost is sent once more, and the storage says that it has it.
        self.house.forge.faults(path="job-logs.txt", method="PUT", skip=1, drop="after")
        # An address that is no longer good is asked for again.
        self.house.forge.faults(path="job-logs.txt", method="PUT", skip=3, status=403)
        worker = self.house.start(f'''
            - {{name: long, run: "seq 1 200000 | sed 's/$/ some more text on each line/'"}}
            - {{name: waits, run: "until [ -e {mark} ]; do read -rt 0.05 <> <(:) || true; done"}}
        ''')
        self.addCleanup(worker.end)
        # Behind its seal a log is only announced once more: nothing may be written there.
        until(lambda: len(self.house.forge.requests("CreateStepLogsMetadata")) - before == 8, "four tries for each of two logs")
        self.house.forge.no_faults()
        open(mark, "w").close()
        run = self.house.finish(worker, 120)
        lines = run.lines("long")
        self.assertEqual(lines[-1], "200000 some more text on each line")
        self.assertEqual(len([line for line in lines if line.endswith("some more text on each line")]), 200000)
        self.assertEqual(run.job["log"].count("some more text on each line\n"), 200000)
        statuses = [r["status"] for r in self.house.forge.requests("job-logs.txt")]
        self.assertEqual((statuses.count(412), statuses.count(403)), (1, 1), statuses)
        sealed = [r for r in self.house.forge.requests("job-logs.txt") + self.house.forge.requests("step-logs-") if "comp=seal" in r["query"]]
        self.assertGreaterEqual(len(sealed), 2)

    def test_a_summary_has_its_size_and_its_line_ends(self):
        run = self.house.run('''
            - name: whole
              run: head -c 1048576 /dev/zero | tr "\\0" x > "$GITHUB_STEP_SUMMARY"
            - name: over
              run: head -c 1048577 /dev/zero | tr "\\0" x > "$GITHUB_STEP_SUMMARY"
            - name: ends
              run: printf "\\357\\273\\277a\\r\\nb\\rc" > "$GITHUB_STEP_SUMMARY"
        ''')
        self.assertEqual(run.conclusion, "success", run.messages("over"))
        self.assertEqual((run.step("whole")["summary"], run.step("over")["summary"]), ("x" * (1 << 20), None))
        self.assertRegex(run.messages("over")[0][1], r"^\$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of 1024k, got 1024k\.")
        self.assertEqual(run.step("ends")["summary"], "a\nb\nc\n")

    def test_a_summary_that_is_too_large_for_the_service_stays_here(self):
        url = f"{self.house.forge.url}/_services/blobs/of-a-summary"
        self.house.forge.faults(path="GetStepSummarySignedBlobURL", times=1, status=200, headers={"Content-Type": "application/json"}, body=json.dumps(
            {"summary_url": url, "blob_storage_type": "BLOB_STORAGE_TYPE_AZURE", "soft_size_limit": "5"}))
        run = self.house.run('''
            - {name: large, run: echo 123456 >> "$GITHUB_STEP_SUMMARY"}
            - {name: small, run: echo 1234 >> "$GITHUB_STEP_SUMMARY"}
        ''')
        self.assertEqual((run.conclusion, run.step("large")["summary"], run.step("small")["summary"]), ("success", None, "1234\n"))
        self.assertEqual(self.house.forge.requests("of-a-summary"), [])

    def test_telemetry_says_what_the_message_asks_for_and_holds_no_secret(self):
        class Asked(http.server.BaseHTTPRequestHandler):
            seen = []
            certificates = []

            def do_GET(self):
                self.seen.append((self.path, self.headers.get("Authorization")))
                if isinstance(self.connection, ssl.SSLSocket):
                    self.certificates.append(self.connection.getpeercert())
                self.send_response({"/health": 200, "/gone": 404}.get(self.path, 418))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_words):
                pass

        folder = os.path.join(self.house.folder, "authority")
        os.mkdir(folder)
        authority = Authority(folder)
        asks = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        asks.load_cert_chain(*authority.issue("server", "localhost"))
        asks.load_verify_locations(authority.ca)
        asks.verify_mode = ssl.CERT_OPTIONAL
        cert, key = authority.issue("agent-7", "agent-7")

        server, tls = (http.server.ThreadingHTTPServer(("127.0.0.1", 0), Asked) for _ in range(2))
        tls.socket = asks.wrap_socket(tls.socket, server_side=True)
        for one in (server, tls):
            threading.Thread(target=one.serve_forever, daemon=True).start()
            self.addCleanup(one.server_close)
            self.addCleanup(one.shutdown)
        base, mark = f"http://127.0.0.1:{server.server_port}", os.path.join(self.house.folder, "asked")
        other = f"https://localhost:{tls.server_port}/health"

        def change(message):
            data = message["resources"]["endpoints"][0]["data"]
            data["ConnectivityChecks"] = json.dumps([f"{base}/health", f"{base}/gone", f"{base}/s3cr3t-value", "file:///etc/passwd", 7])
            data["ConnectivityAndDNSChecks"] = json.dumps([other])
            message["variables"]["DistributedTask.DeprecateStepOutputCommands"] = {"value": "true"}
        worker = self.house.start(f'''
            - run: |
                echo "::set-output name=a::b"
                echo "::set-output name=c::d"
                until [ -e {mark} ]; do read -rt 0.05 <> <(:) || true; done
        ''', change=change, env={"DAVIT_CLIENT_CERT": cert, "DAVIT_CLIENT_KEY": key, "SSL_CERT_FILE": authority.ca})
        self.addCleanup(worker.end)
        until(lambda: len(Asked.seen) == 4, "the checks")
        open(mark, "w").close()
        run = self.house.finish(worker)
        told = sorted((t["type"], t["message"]) for t in run.job["telemetry"])
        self.assertEqual(told, [("ActionCommand", "DeprecatedCommand: set-output"), ("ConnectivityCheck", f"{base}/***: http_418"),
                                ("ConnectivityCheck", f"{base}/gone: http_NotFound"), ("ConnectivityCheck", f"{base}/health: http_OK"),
                                ("ConnectivityCheck", f"{other}: http_OK")])
        self.assertEqual(sorted(path for path, _ in Asked.seen), ["/gone", "/health", "/health", "/s3cr3t-value"])
        self.assertEqual({token for _, token in Asked.seen}, {None})
        self.assertEqual(Asked.certificates, [None], "whoever a message names is not shown the agent's certificate")

    def test_hash_files_and_expressions_in_steps(self):
        run = self.house.run('''
            - {run: "mkdir -p d/e && echo 1 > d/a.txt && echo 2 > d/e/b.txt && echo 3 > d/c.log && ln -s a.txt d/l.txt"}
            - {name: hashes, run: "echo '${{ hashFiles('d/**/*.txt', '!d/l.txt') }}' '${{ hashFiles('none*') }}'"}
            - name: expected
              run: |
                python3 - <<'EOF'
                import hashlib
                h = hashlib.sha256()
                for p in ("d/a.txt", "d/e/b.txt"): h.update(hashlib.sha256(open(p, "rb").read()).digest())
                print(h.hexdigest(), "")
                EOF
        ''')
        self.assertEqual(run.lines("hashes")[-1].strip(), run.lines("expected")[-1].strip())
        self.assertEqual(len(run.lines("expected")[-1].strip()), 64)

    def test_hash_files_looks_only_where_a_pattern_reaches(self):
        run = self.house.run("""
            - run: |
                rm -rf *; mkdir -p node_modules/.bin node_modules/deep a/b c
                ln -s ../gone node_modules/.bin/cli; ln -s gone a/gone.txt
                echo 1 > package.json; echo 2 > node_modules/deep/x.json; echo 3 > a/b/y.json; echo 4 > c/z.json; echo 5 > ä.txt; echo 6 > ab.txt
                python3 -c 'import os; os.makedirs("node_modules/" + "d/" * 300)'
                mkfifo c/pipe.json; ln -s ../../package.json a/b/link.json
            - {name: top, run: "echo top=${{ hashFiles('*.json') }}"}
            - {name: all, run: "echo all=${{ hashFiles('**/*.json', '!node_modules/**') }}"}
            - {name: again, run: "echo again=${{ hashFiles('!node_modules', 'node_modules/deep/*.json') }}"}
            - {name: one, run: "echo one=${{ hashFiles('?.txt') }}"}
            - {name: letters, run: "echo letters=${{ hashFiles('[^a].txt') }}"}
            - {name: broken, run: "echo ${{ hashFiles('a/*.txt') }}"}
        """)

        def digest(*texts):
            return hashlib.sha256(b"".join(hashlib.sha256(text).digest() for text in texts)).hexdigest()
        for name, texts in {"top": [b"1\n"], "all": [b"1\n", b"1\n", b"3\n", b"4\n"], "again": [b"2\n"], "one": [b"5\n"], "letters": [b"5\n"]}.items():
            said = [line for line in run.lines(name) if line.startswith(f"{name}=")]
            orders = {f"{name}={digest(*order)}" for order in itertools.permutations(texts)}
            self.assertIn(said[0], orders, name)
        self.assertEqual(run.conclusions()["broken"], "failure")

    def test_the_environment_url_is_evaluated_at_the_end(self):
        run = self.house.run('''
            - {id: one, run: 'echo "host=shop.example" >> "$GITHUB_OUTPUT"'}
        ''', job="environment: {name: production, url: 'https://${{ steps.one.outputs.host }}/'}")
        self.assertEqual(run.job["environment_url"], "https://shop.example/")

    def test_processes_left_over_are_ended(self):
        run = self.house.run('''
            - name: leaves
              run: |
                setsid sleep 3000 > /dev/null 2>&1 < /dev/null &
                until grep -qx sleep /proc/$!/comm; do :; done
                echo $! > "$GITHUB_WORKSPACE/pid"
        ''')
        self.assertRegex(run.log("Complete job"), r"Terminate orphan process: pid \(\d+\) \(sleep\)")
        with open(os.path.join(self.house.work, "demo", "demo", "pid")) as file:
            self.assertFalse(alive(int(file.read())))

    def test_a_pipe_held_by_a_background_process_does_not_hold_the_step(self):
        run = self.house.run('''
            - {name: leaves, run: "sleep 3000 & echo started"}
            - {name: next, run: "echo"}
        ''', timeout=40)
        self.assertEqual(run.conclusion, "success")
        self.assertIn("started", run.lines("leaves"))

    def test_debug_shows_what_is_hidden_else(self):
        run = self.house.run('''
            - {id: one, name: says, run: 'echo "::debug::shown"; echo "a=1" >> "$GITHUB_OUTPUT"; test "$RUNNER_DEBUG" = 1'}
        ''', change=lambda message: message["variables"].update(ACTIONS_STEP_DEBUG={"value": "true"}))
        self.assertIn("##[debug]shown", run.lines("says"))
        self.assertIn("##[debug]Set output a = 1", run.lines("says"))


    def test_titles_of_steps_are_evaluated_as_soon_as_they_can_be(self):
        self.house.secrets(KEY="s3cr3t-value")
        run = self.house.run('''
            - run: echo hi ${{ github.sha }}
            - run: |2

                  echo first ${{ github.ref_name }}
                echo second ${{ github.sha }}
            - {id: one, name: "one of ${{ github.repository }}", run: 'echo "said=later" >> "$GITHUB_OUTPUT"'}
            - run: echo ${{ steps.one.outputs.said }} ${{ secrets.KEY }}
            - {name: "name of ${{ steps.one.outputs.said }}", run: echo}
            - {if: "false", run: "echo skipped ${{ steps.one.outputs.said }} ${{ env.NONE }}"}
            - {if: "false", run: "echo broken ${{ fromJSON('{') }}"}
            - {name: "${{ '' }}", run: echo}
        ''')
        sha = run.shown["sha"]
        names = [s["name"] for s in run.job["steps"]]
        self.assertEqual(names[1:9], [f"Run echo hi {sha}", "Run echo first main", "one of octo/demo", "Run echo later ***",
                                      "name of later", "Run echo skipped later ", "Run echo broken ${{ fromJSON('{') }}", "run"])
        self.assertIn("##[group]" + names[1], run.lines(names[1]))

    def test_a_title_that_waits_for_a_step_shows_its_expressions_until_then(self):
        gate = os.path.join(self.house.folder, "gate")
        worker = self.house.start(f'''
            - {{id: one, run: 'for i in $(seq 2400); do test -e {gate} && break; sleep 0.05; done; echo "said=later" >> "$GITHUB_OUTPUT"'}}
            - run: echo ${{{{ github.repository }}}} ${{{{ steps.one.outputs.said }}}}
        ''')
        self.addCleanup(worker.process.kill)

        def names():
            return [s["name"] for r in self.house.forge.runs(logs=False, sha=self.house.sha) for job in r["jobs"] for s in job["steps"]]
        shown = until(lambda: [n for n in names() if n.startswith("Run echo")], "the title")
        self.assertEqual(shown, ["Run echo ${{ github.repository }} ${{ steps.one.outputs.said }}"])
        open(gate, "w").close()
        run = self.house.finish(worker)
        self.assertIn("octo/demo later", run.lines("Run echo octo/demo later"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
