"""What tests of health gates share: a gate that is deployed, and what the journal says of its probes."""
import json

from harness.trial import Case


class GateCase(Case):
    def gate(self, t, *checks, deadline="20s", targets=None, before=(), **more):
        """Deploys these checks; an interval of 50 ms where none is given."""
        whole = [{"interval": "50ms", **check} for check in checks]
        return t.deploy({"targets": targets or {"here": {"local": {}}},
                         "steps": [*before, {"health-gate": {"checks": whole, "deadline": deadline}}]}, **more)

    def gate_says(self, t, *checks, says, deadline=400, **more):
        """A gate that does not pass says these words. deadline: milliseconds; a busy machine that has no answer by then gets more."""
        for factor in (1, 4, 16):
            wrong = self.gate(t, *checks, deadline=f"{deadline * factor}ms", **more)
            self.assert_exit(wrong, 1)
            if "has not answered" not in wrong.text:
                break
        self.assert_says(wrong, *says)

    def probes(self, t, kind="probe"):
        """What the journal has of the last deployment's probes, oldest first."""
        shown = t.run("show", "last", "--json")
        self.assert_exit(shown, 0)
        return [event["data"] for event in json.loads(shown.out)["events"] if event["kind"] == kind]
