"""The report in a real browser, without a network: what it shows, and what it must not do."""

import html.parser
import json
import shutil
import subprocess

import pytest
from PIL import Image

# Fixed, so that nothing depends on a display; no connection is possible, and none may be tried.
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-default-apps", "--hide-scrollbars",
    "--proxy-server=127.0.0.1:9", "--window-size=1300,3200", "--force-device-scale-factor=1",
]


@pytest.fixture(scope="module")
def opened(package, tmp_path_factory):
    """The page after it was opened: its document, its picture, and what the browser asked the network for."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "install Chromium (Debian: chromium)"
    folder = tmp_path_factory.mktemp("browser")
    page = (package / "summary.html").as_uri()

    def open_page(*how):
        profile = f"--user-data-dir={folder / 'profile'}"
        done = subprocess.run([chromium, *FLAGS, profile, *how, page], capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.decode()

    document = open_page("--dump-dom", f"--log-net-log={folder / 'net.json'}")
    open_page(f"--screenshot={folder / 'page.png'}")
    return document, Image.open(folder / "page.png").convert("RGB"), (folder / "net.json").read_text()


class Elements(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.all = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.all.append((tag, dict(attrs)))

    def count(self, name, **wanted):
        return sum(tag == name and all(attrs.get(k) == v for k, v in wanted.items()) for tag, attrs in self.all)


def test_every_part_is_in_the_document(opened, package):
    elements = Elements(opened[0])
    for part in ["counts", "run"]:
        assert any(attrs.get("id") == part for _, attrs in elements.all), part
    for part in ["controls", "chains", "graph", "timeline", "coverage", "findings", "unanswered", "verify"]:
        assert elements.count("section", id=part) == 1, part
    graph = json.loads((package / "graph.json").read_text())
    assert elements.count("rect") == len(graph["nodes"])
    assert elements.count("path") == len(graph["edges"])
    assert elements.count("path", **{"class": "declared"}) == 1
    findings = json.loads((package / "findings.json").read_text())
    assert elements.count("circle") == len(findings["timeline"])


def test_nothing_from_elsewhere_ran_or_was_asked_for(opened):
    document, _, network = opened
    elements = Elements(document)
    for tag in ["script", "img", "iframe", "link", "object", "form"]:
        assert elements.count(tag) == 0, tag
    assert not any(name.startswith("on") for _, attrs in elements.all for name in attrs)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in document
    for host in ["evil.example", "azure.com", "azure.net"]:
        assert host not in network


def test_the_picture_shows_the_drawings_and_the_answers(opened):
    picture = opened[1]
    colours = dict((colour, count) for count, colour in picture.getcolors(maxcolors=1 << 24))
    parts = {
        "the line under the head": ((0x24, 0x50, 0x7A), 2000),
        "accounts in the graph": ((0xDC, 0xE9, 0xF7), 4000),
        "identities in the graph": ((0xE4, 0xF3, 0xE6), 2000),
        "keys in the graph": ((0xFD, 0xF0, 0xCF), 4000),
        "vaults in the graph": ((0xEE, 0xE4, 0xF7), 2000),
        "the background of the drawings": ((0xFB, 0xFC, 0xFE), 20000),
        "an answer that fails": ((0xA4, 0x16, 0x1A), 300),
        "an answer that could not be had": ((0xFF, 0xF1, 0xDC), 500),
        "heads of tables": ((0xF2, 0xF5, 0xF9), 20000),
        "a drill in the timeline": ((0x6A, 0x1B, 0x9A), 40),
    }
    for part, (colour, least) in parts.items():
        assert colours.get(colour, 0) >= least, (part, colours.get(colour, 0))
