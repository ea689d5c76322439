"""What a page of HTML is made of."""
import html.parser

VOID = {"meta", "br", "hr"}


class Balanced(html.parser.HTMLParser):
    """Each element is closed in its order; what a page asks of the network is noted."""

    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "srcset", "data", "action") or (name == "href" and tag != "a")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag
