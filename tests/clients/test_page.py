"""The chat page in headless Chromium, used as a person would use it, and looked at by axe.

Nothing is stubbed: the page talks to a served model, and what a hostile model would write is put into the store that the server reads.
"""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import unittest
from importlib import resources

from playwright.sync_api import expect, sync_playwright
from served import HERE, MODEL, PATIENCE, SCRATCH, Server, trained, until

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: The sandbox does not work for root, and nothing here comes from outside. The rest keeps the browser from asking its maker's servers.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
STORE = SCRATCH / "page.db"
#: The narrowest phones that are sold, and each way to look at the page: all must be fit for use.
PHONE = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}
LOOKS = {"light": {}, "dark": {"color_scheme": "dark"}, "phone": PHONE, "dark phone": PHONE | {"color_scheme": "dark"}}
#: A folder for a picture of each state that axe looks at, for people to look at too.
PICTURES = os.environ.get("PICTURES")
#: Longer than any wait here, so that answers of this many tokens are still being written when they are looked at.
LONG = 450

HOSTILE = """<script>window.hacked = 1</script> <img src=x onerror="window.hacked = 2"> <svg onload="window.hacked = 3"></svg>

[click](javascript:window.hacked=4) [also](  JaVaScRiPt:window.hacked=5) [data](data:text/html,<script>window.hacked=6</script>) [fine](https://example.org/x?"onmouseover="window.hacked=7)

![picture](https://evil.example/track.png) <iframe src="https://evil.example"></iframe> <style>body { display: none }</style>

| <b onclick="window.hacked=8">a</b> | b |
|---|---|
| `<img src=x onerror=window.hacked=9>` | &lt;script&gt;window.hacked=10&lt;/script&gt; |

```html"><img src=x onerror="window.hacked=11">
</code></pre><script>window.hacked = 12</script>
```

<a href="https://evil.example" target="_blank">x</a> <form action="https://evil.example"><input name="password"></form> \u202etxt.exe
"""


def setUpModule():
    if CHROMIUM is None:
        sentence = "there is no Chromium: install Debian's package chromium, or name a browser in CHROMIUM"
        if os.environ.get("CI"):
            raise RuntimeError(sentence)
        raise unittest.SkipTest(sentence)
    global server, browser, playwright
    STORE.unlink(missing_ok=True)
    slow = trained("slow", HERE / "slow_recipe.toml", "pretrain")
    server = Server("--conversations", str(STORE), models=[trained(), slow])
    playwright = sync_playwright().start()
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


def tearDownModule():
    browser.close()
    playwright.stop()
    server.kill()


class Page(unittest.TestCase):
    """A fresh tab for each test, with everything that goes wrong in it kept."""

    def setUp(self):
        self.open()

    def tearDown(self):
        self.context.close()
        self.assertEqual(self.wrong, [], "the browser complains")

    def open(self, path="/", at=None, **settings):
        self.wrong = []
        self.context = browser.new_context(accept_downloads=True, **settings)
        self.context.set_default_timeout(1000 * PATIENCE)
        expect.set_options(timeout=1000 * PATIENCE)
        page = self.page = self.context.new_page()
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda said: said.type == "error" and self.wrong.append(said.text))
        self.home = (at or server).url
        page.on("request", lambda asked: self.check_home(asked.url))
        page.goto(self.home + path)
        return page

    def reopen(self, *words, **settings):
        self.context.close()
        return self.open(*words, **settings)

    def check_home(self, url):
        if not url.startswith((self.home + "/", "data:", "blob:")):
            self.wrong.append(f"the page asks for {url}")

    # What a person does.

    def set(self, model=MODEL, **fields):
        """The model, and settings of the conversation."""
        self.page.locator("#model").select_option(model)
        self.page.get_by_role("button", name="Settings").click()
        for field, value in fields.items():
            self.page.locator(f"#{field}").fill(str(value))
        self.page.get_by_role("button", name="Done").click()

    def send(self, words):
        self.page.get_by_label("Message", exact=True).fill(words)
        self.page.get_by_label("Message", exact=True).press("Enter")

    def answered(self, n=1):
        """Waits until that many answers are on the screen and whole."""
        expect(self.answers).to_have_count(n)
        expect(self.page.locator("#send")).to_be_visible()

    def ask(self, words="What is the capital of Estia?", n=1):
        self.send(words)
        self.answered(n)

    def begin_long(self):
        """Asks for an answer that takes a while, and waits for its first words."""
        # Drawn at random it might end at any token; greedily, a model that knows nothing says the same for ever.
        self.set("slow", max_tokens=LONG, temperature=0)
        self.send("Go on and on.")
        expect(self.words).not_to_have_text(re.compile("^…?$"))

    @property
    def answers(self):
        return self.page.locator("article.answered")

    @property
    def words(self):
        return self.answers.last.locator(".words")

    @property
    def rows(self):
        return self.page.locator("#list .row")


class Talking(Page):
    def test_an_answer_streams_and_its_figures_follow(self):
        self.begin_long()
        first = self.words.inner_text()
        expect(self.page.locator("#stop")).to_be_visible()
        until(lambda: len(self.words.inner_text()) > len(first))
        self.answered()
        expect(self.answers.locator(".figures")).to_contain_text("tokens/s")

    def test_stop_ends_an_answer_where_it_is(self):
        self.begin_long()
        self.page.get_by_role("button", name="Stop").click()
        self.answered()
        expect(self.answers).to_contain_text("Stopped here.")
        until(lambda: server.metric("gigaro_requests_running") == 0)

    def test_an_edited_question_is_a_branch_beside_the_old_one(self):
        self.set(max_tokens=8)
        self.ask("What is a cat?")
        self.page.get_by_role("button", name="Edit and send again").click()
        self.page.get_by_label("Your message").fill("What is a dog?")
        self.page.locator("article.editing").get_by_role("button", name="Send").click()
        self.answered()
        asked = self.page.locator("article.asked")
        expect(asked).to_contain_text("What is a dog?")
        expect(asked.locator(".count")).to_have_text("2/2")
        asked.get_by_role("button", name="The one before").click()
        expect(asked).to_contain_text("What is a cat?")
        self.page.reload()
        expect(self.page.locator("article.asked")).to_contain_text("What is a cat?")

    def test_another_answer_is_a_branch_too(self):
        self.set(max_tokens=20, temperature=1)
        self.ask()
        first = self.words.inner_text()
        self.page.get_by_role("button", name="Another answer").click()
        expect(self.answers.locator(".count")).to_have_text("2/2")
        self.answered()
        self.page.get_by_role("button", name="The one before").click()
        expect(self.words).to_have_text(first)

    def test_a_page_that_is_loaded_again_joins_the_answer_under_way(self):
        self.begin_long()
        first = self.words.inner_text()
        self.page.reload()
        until(lambda: self.answers.count() and len(self.words.inner_text()) > len(first))
        self.assertTrue(self.words.inner_text().startswith(first[: len(first) // 2]))
        self.answered()
        expect(self.answers.locator(".figures")).to_contain_text(f"{LONG} tokens")

    def test_tokens_show_what_might_have_stood_there(self):
        # Drawn at random, the answer might end before its tenth token.
        self.set(max_tokens=10, temperature=0)
        self.ask()
        self.page.get_by_role("button", name="Probabilities of the tokens").click()
        tokens = self.page.locator(".token-view .words .token")
        expect(tokens).to_have_count(10)
        tokens.nth(3).hover()
        expect(self.page.locator("#tip")).to_be_visible()
        expect(self.page.locator("#tip")).to_contain_text("%")
        self.assertGreaterEqual(self.page.locator("#tip tr").count(), 5)

    def test_two_answers_are_compared_and_thumbs_counted(self):
        self.set(max_tokens=10, temperature=1)
        self.page.get_by_role("button", name="Compare two answers").click()
        self.send("Which is better?")
        self.page.get_by_role("button", name="A is better").click()
        self.answered()
        self.page.get_by_role("button", name="Good answer").click()
        self.page.get_by_role("button", name="Feedback").click()
        expect(self.page.locator("#counts")).to_contain_text("comparisons")
        counts = self.page.locator("#counts dd").all_inner_texts()
        self.assertGreaterEqual(int(counts[0]), 1)
        self.assertGreaterEqual(int(counts[2]), 1)

    def test_settings_of_a_conversation_stay_with_it(self):
        self.set(max_tokens=3, system="Be brief.", seed=5)
        self.ask()
        self.page.reload()
        self.page.get_by_role("button", name="Settings").click()
        expect(self.page.locator("#system")).to_have_value("Be brief.")
        expect(self.page.locator("#max_tokens")).to_have_value("3")
        expect(self.page.locator("#seed")).to_have_value("5")

    def test_a_refusal_is_told_in_the_server_s_words(self):
        self.set(max_tokens=4)
        self.send("word " * 600)
        expect(self.page.locator("#notice")).to_contain_text("tokens")
        # The browser itself notes the status in its console.
        until(lambda: self.wrong)
        self.assertIn("400", self.wrong.pop())


class Keeping(Page):
    def test_conversations_are_found_renamed_saved_and_deleted(self):
        self.set(max_tokens=6)
        self.ask("Tell me of zebras and lakes.")
        self.page.get_by_role("button", name="New conversation").click()
        self.ask("Tell me of mountains.")
        self.page.keyboard.press("Control+k")
        expect(self.page.locator("#search")).to_be_focused()
        self.page.keyboard.type("zebra")
        expect(self.rows).to_have_count(1)
        self.rows.get_by_role("button", name="More about").click()
        self.page.get_by_role("menuitem", name="Rename").click()
        self.page.get_by_label("Name of the conversation").fill("Striped animals")
        self.page.locator("#rename").get_by_role("button", name="Rename").click()
        expect(self.rows).to_contain_text("Striped animals")
        self.check_saved()
        self.rows.get_by_role("button", name="More about").click()
        self.page.get_by_role("menuitem", name="Delete").click()
        self.page.locator("#delete").get_by_role("button", name="Delete").click()
        expect(self.page.locator("#list")).to_contain_text("Nothing is found.")

    def check_saved(self):
        for item, ending in [("Save as Markdown", ".md"), ("Save as JSON", ".json")]:
            self.rows.get_by_role("button", name="More about").click()
            with self.page.expect_download() as saving:
                self.page.get_by_role("menuitem", name=item).click()
            self.assertTrue(saving.value.suggested_filename.endswith(ending))
            with open(saving.value.path()) as file:
                text = file.read()
            self.assertIn("zebras and lakes", text)
            if ending == ".json":
                self.assertEqual(json.loads(text)["title"], "Striped animals")

    def test_a_key_is_asked_for_and_a_wrong_one_refused(self):
        keys = SCRATCH / "page-keys.txt"
        keys.write_text("sk-right-key-of-the-page\n")
        with Server("--conversations", str(SCRATCH / "page-keys.db"), "--api-key-file", str(keys)) as guarded:
            page = self.reopen(at=guarded)
            for key in ["sk-wrong-key", "sk-right-key-of-the-page"]:
                page.get_by_label("API key").fill(key)
                page.get_by_role("button", name="Use it").click()
                if key == "sk-wrong-key":
                    expect(page.locator("#key-error")).to_contain_text("does not know this key")
            self.set(max_tokens=4)
            self.ask()
            self.context.close()
            # The browser notes each refused request in its console.
            self.wrong = [words for words in self.wrong if "401" not in words]


class Looks(Page):
    def background(self):
        colour = self.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(float, re.findall(r"[\d.]+", colour)[:3]))

    def test_it_is_dark_or_light_as_the_system_or_the_person_says(self):
        for scheme in ["light", "dark"]:
            self.page.emulate_media(color_scheme=scheme)
            self.assertEqual(self.background() > 380, scheme == "light")
        theme = self.page.locator("#theme")
        theme.click()
        expect(theme).to_have_text("Theme: light")
        self.assertGreater(self.background(), 380)
        self.page.reload()
        expect(theme).to_have_text("Theme: light")
        theme.click()
        self.page.emulate_media(color_scheme="light")
        self.assertLess(self.background(), 380)

    def test_on_a_phone_nothing_is_cut_off_and_the_list_opens(self):
        page = self.reopen(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
        expect(page.locator("#search")).not_to_be_in_viewport()
        self.set(max_tokens=30)
        self.ask("word " * 60 + "w" * 200)
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        self.assertEqual(wider, 0)
        page.get_by_role("button", name="Conversations").click()
        expect(page.locator("#search")).to_be_in_viewport()
        self.rows.first.locator(".open").click()
        expect(page.locator("#search")).not_to_be_in_viewport()
        expect(page.get_by_label("Message", exact=True)).to_be_in_viewport()

    def test_everything_can_be_done_by_keyboard(self):
        self.set(max_tokens=5)
        page, keys = self.page, self.page.keyboard
        page.get_by_label("Message", exact=True).focus()
        keys.type("First line")
        keys.press("Shift+Enter")
        keys.type("second line")
        keys.press("Enter")
        self.answered()
        expect(page.locator("article.asked")).to_contain_text("second line")
        # From the field back through the answer's buttons to the one that asks again.
        for _ in range(12):
            keys.press("Shift+Tab")
            if page.evaluate("document.activeElement.getAttribute('aria-label')") == "Another answer":
                break
        keys.press("Enter")
        expect(self.answers.locator(".count")).to_have_text("2/2")
        self.answered()
        keys.press("Control+k")
        keys.press("ArrowDown")
        self.assertIn("open", page.evaluate("document.activeElement.className"))
        keys.press("Tab")
        keys.press("Enter")
        self.assertEqual(page.evaluate("document.activeElement.textContent"), "Rename")
        keys.press("Escape")
        self.assertIn("More about", page.evaluate("document.activeElement.getAttribute('aria-label')"))
        keys.press("Control+Shift+O")
        expect(page.get_by_label("Message", exact=True)).to_be_focused()
        expect(page.locator("#title")).to_have_text("New conversation")

    def test_escape_stops_an_answer(self):
        self.begin_long()
        self.page.keyboard.press("Escape")
        self.answered()
        expect(self.answers).to_contain_text("Stopped here.")


@contextlib.contextmanager
def server_with_answer(content):
    """A server with a conversation whose answer is this, as if a model had written it: its address and the conversation's number."""
    path = SCRATCH / "answer.db"
    path.unlink(missing_ok=True)
    with Server("--conversations", str(path)) as first:
        conversation = json.loads(first.post("/api/conversations", {}))["id"]
        at = f"/api/conversations/{conversation}"
        question = json.loads(first.post(f"{at}/messages", {"content": "Say something."}))["id"]
        first.post(f"{at}/answers", {"parent": question, "request": {"max_tokens": 1}})
        first.drain()
    store = sqlite3.connect(path)
    # The index of words is kept by a trigger that not every Python's SQLite knows; nothing is searched for here.
    store.execute("DROP TRIGGER words_of_changed")
    store.execute("UPDATE messages SET content = ? WHERE role = 'assistant'", (content,))
    store.commit()
    store.close()
    with Server("--conversations", str(path)) as second:
        yield second, conversation


#: As `gigaro align --from-feedback` notes them, with names as long as people give.
TRAININGS = [
    {"run": "first", "algorithm": "kto", "learned_from": 3, "win_rate": None, "outcome": "unknown", "taken": False, "swapped": None},
    {"run": "speedrun-feedback-2026-11-30-second", "algorithm": "dpo", "learned_from": 140, "win_rate": [0.31, 0.24, 0.39], "outcome": "worse", "taken": False, "swapped": None},
    {"run": "third", "algorithm": "ipo", "learned_from": 12, "win_rate": [0.52, 0.41, 0.63], "outcome": "undecided", "taken": False, "swapped": None},
    {"run": "fourth", "algorithm": "dpo", "learned_from": 900, "win_rate": [0.6, 0.55, 0.65], "outcome": "better", "taken": True, "swapped": None},
    {"run": "fifth", "algorithm": "dpo", "learned_from": 1200, "win_rate": [0.71, 0.64, 0.78], "outcome": "better", "taken": True, "swapped": "http://127.0.0.1:8000"},
]


@contextlib.contextmanager
def server_with_trainings(path):
    """A server on whose store something was said of answers, and trainings are noted."""
    path.unlink(missing_ok=True)
    with Server("--conversations", str(path)) as at:
        conversation = json.loads(at.post("/api/conversations", {}))["id"]
        question = json.loads(at.post(f"/api/conversations/{conversation}/messages", {"content": "Say something."}))["id"]
        for _ in range(2):
            at.post(f"/api/conversations/{conversation}/answers", {"parent": question, "request": {"max_tokens": 2}})
        messages = json.loads(at.get(f"/api/conversations/{conversation}"))["messages"]
        one, other = [message["id"] for message in messages if message["role"] == "assistant"]
        at.post("/api/choices", {"answers": [one, other], "chosen": one})
        with contextlib.closing(sqlite3.connect(path)) as store, store:
            noted = [(json.dumps(training | {"at_ms": 1_790_000_000_000 + day * 86_400_000}),) for day, training in enumerate(TRAININGS)]
            store.executemany("INSERT INTO trainings (training) VALUES (?)", noted)
        yield at


class Safety(Page):
    def test_nothing_that_a_model_writes_becomes_markup(self):
        with server_with_answer(HOSTILE) as (at, conversation):
            self.check_harmless(self.reopen(f"/#{conversation}", at))

    def check_harmless(self, page):
        expect(self.words).to_contain_text("window.hacked = 1")
        page.wait_for_timeout(300)
        self.assertIsNone(page.evaluate("window.hacked ?? null"))
        for kind in ["script", "img", "iframe", "svg:not([aria-hidden])", "form", "input", "style", "object", "[onclick]", "[onerror]", "[onload]", "[onmouseover]"]:
            self.assertEqual(self.words.locator(kind).count(), 0, kind)
        for link in self.words.locator("a").all():
            self.assertRegex(link.get_attribute("href"), "^https?://")
            self.assertIn("noopener", link.get_attribute("rel"))

    def test_a_script_of_elsewhere_is_kept_out_by_the_page_s_policy(self):
        page = self.page
        ran = page.evaluate(
            """() => new Promise((resolve) => {
                const script = document.createElement('script');
                try { script.textContent = 'window.hacked = 1'; } catch { /* trusted types refuse it */ }
                document.head.append(script);
                setTimeout(() => resolve(window.hacked ?? null), 200);
            })"""
        )
        self.assertIsNone(ran)
        # The browser says that it has refused.
        self.assertTrue(self.wrong)
        self.wrong.clear()


class Accessible(Page):
    """No serious finding of axe, in each state that the page has."""

    AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text()

    def check(self, state):
        # In a world of its own, where the page's policy does not hold and its scripts are not touched.
        session = self.context.new_cdp_session(self.page)
        frame = session.send("Page.getFrameTree")["frameTree"]["frame"]["id"]
        world = session.send("Page.createIsolatedWorld", {"frameId": frame, "worldName": "axe"})["executionContextId"]
        session.send("Runtime.evaluate", {"expression": self.AXE, "contextId": world})
        found = session.send(
            "Runtime.evaluate",
            {"expression": "axe.run().then((found) => found.violations)", "contextId": world, "awaitPromise": True, "returnByValue": True},
        )
        session.detach()
        if PICTURES:
            self.page.screenshot(path=f"{PICTURES}/{state.replace(' ', '-')}.png")
        serious = [
            f"{violation['id']}: {violation['help']}: {[node['html'][:120] for node in violation['nodes'][:3]]}"
            for violation in found["result"]["value"]
            if violation["impact"] in ("serious", "critical")
        ]
        self.assertEqual(serious, [], state)
        self.check_nothing_sticks_out(state)

    def check_nothing_sticks_out(self, state):
        """Neither the page, nor an open dialog, nor a table in one is wider than what is seen of it."""
        wider = self.page.evaluate(
            """() => [document.documentElement, document.getElementById('scroller'), ...document.querySelectorAll('dialog[open], dialog[open] .table')]
                .filter((box) => box.scrollWidth > box.clientWidth).map((box) => `${box.tagName}#${box.id}`)"""
        )
        self.assertEqual(wider, [], state)

    def in_each_look(self, walk, at=None):
        """Has something done on the page anew in each of the ways to look at it."""
        for look, settings in LOOKS.items():
            with self.subTest(look):
                self.reopen(at=at, **settings)
                walk(look)
                self.assertEqual(self.wrong, [], "the browser complains")

    def test_empty_talking_asking_and_choosing(self):
        self.check("empty")
        # Greedily: an answer that ends at once, as one may that is drawn at random, has no tokens to show.
        self.set(max_tokens=12, temperature=0)
        self.ask("A list, please.")
        self.check("an answer")
        self.page.get_by_role("button", name="Probabilities of the tokens").click()
        self.check("tokens")
        self.page.get_by_role("button", name="Edit and send again").click()
        self.check("editing")
        self.page.get_by_role("button", name="Cancel").click()
        self.page.get_by_role("button", name="Settings").click()
        self.check("settings")
        self.page.get_by_role("button", name="Done").click()
        self.page.get_by_role("button", name="Feedback").click()
        expect(self.page.locator("#feedback-page")).to_be_visible()
        self.check("feedback")
        self.page.get_by_role("button", name="Done").click()
        self.rows.first.get_by_role("button", name="More about").click()
        self.check("menu")
        self.page.keyboard.press("Escape")
        self.page.get_by_role("button", name="Compare two answers").click()
        self.send("Two, please.")
        expect(self.page.get_by_role("button", name="A is better")).to_be_enabled()
        self.check("comparing")

    def test_dark(self):
        self.reopen(color_scheme="dark")
        self.check("empty, dark")
        self.set(max_tokens=6)
        self.ask()
        self.check("an answer, dark")

    def test_on_a_phone(self):
        self.reopen(viewport={"width": 360, "height": 640})
        self.set(max_tokens=6)
        self.ask()
        self.check("an answer on a phone")
        self.page.get_by_role("button", name="Conversations").click()
        self.check("the list on a phone")

    def test_what_a_token_looked_at(self):
        self.in_each_look(self.look_at_tokens)

    def look_at_tokens(self, look):
        self.set(max_tokens=24, temperature=0, system="Answer in one sentence, and only if you are sure.")
        self.ask("What is the capital of Estia, and who reads there?")
        self.page.get_by_role("button", name="Probabilities of the tokens").click()
        self.page.get_by_role("button", name="What it looked at").click()
        self.check(f"attention before a token is chosen, {look}")
        self.page.locator(".token-view .words .token").nth(6).click()
        told = self.page.locator(".attention [role=status]")
        expect(told).to_contain_text("it looked most at")
        expect(self.page.locator(".prompt-tokens .token[data-look]").first).to_be_visible()
        self.check(f"attention, {look}")
        of_all = told.inner_text()
        self.page.get_by_label("Layer").select_option("layer 2")
        self.page.get_by_label("Head").select_option("head 1")
        expect(told).not_to_have_text(of_all)
        self.check(f"attention of one head, {look}")
        # A model that was trained longer would look elsewhere: words are read on every shade.
        paint = "(shade) => document.querySelectorAll('.token-view .token').forEach((token) => { token.dataset.look = shade; })"
        for shade in range(1, 5):
            self.page.evaluate(paint, str(shade))
            self.check(f"everything in shade {shade}, {look}")

    def test_tokens_that_are_white_space_have_names(self):
        conversation = json.loads(server.post("/api/conversations", {}))["id"]
        at = f"/api/conversations/{conversation}"
        question = json.loads(server.post(f"{at}/messages", {"content": "Say nothing."}))["id"]
        blank = {"type": "regex", "value": "a \\n \\n\\t b"}
        server.post(f"{at}/answers", {"parent": question, "request": {"model": MODEL, "grammar": blank}})
        self.reopen(f"/#{conversation}")
        self.page.get_by_role("button", name="Probabilities of the tokens").click()
        tokens = self.page.locator(".token-view .words .token")
        expect(tokens.first).to_be_visible()
        names = [token.get_attribute("aria-label") for token in tokens.all() if not token.text_content().strip()]
        self.assertTrue(names)
        self.assertTrue(all("%" in (name or "") for name in names), names)
        self.check("tokens of white space")

    def test_settings_of_a_conversation(self):
        self.in_each_look(self.go_through_settings)

    def go_through_settings(self, look):
        self.set(system="A long prompt. " * 60, temperature=0.3, max_tokens=5, seed=1)
        self.page.get_by_role("button", name="Settings").click()
        expect(self.page.locator("#settings-title")).to_be_in_viewport()
        self.check(f"settings, {look}")
        self.page.get_by_role("button", name="Back to defaults").click()
        expect(self.page.locator("#max_tokens")).to_have_value("")
        # What somebody has written is no setting that has a default.
        expect(self.page.locator("#system")).not_to_have_value("")
        self.check(f"settings by default, {look}")

    def test_thumbs_and_two_answers(self):
        self.in_each_look(self.judge)

    def judge(self, look):
        good = self.page.get_by_role("button", name="Good answer")
        self.set(max_tokens=12, temperature=1)
        self.ask("What is a king?")
        good.click()
        expect(good).to_have_attribute("aria-pressed", "true")
        self.check(f"a thumb up, {look}")
        self.page.get_by_role("button", name="Bad answer").click()
        expect(good).to_have_attribute("aria-pressed", "false")
        self.check(f"a thumb down, {look}")
        self.page.get_by_role("button", name="Compare two answers").click()
        self.send("Which is better?")
        better = self.page.get_by_role("button", name="A is better")
        expect(better).to_be_enabled()
        self.check(f"two answers, {look}")
        better.click()
        expect(self.answers.last).to_contain_text("You preferred this to another answer.")
        self.check(f"the preferred one, {look}")
        self.page.get_by_role("button", name="Compare with another answer").last.click()
        expect(better).to_be_enabled()
        self.check(f"two answers again, {look}")

    def test_two_answers_that_are_still_being_written(self):
        self.in_each_look(self.interrupt_two_answers)

    def interrupt_two_answers(self, look):
        self.set("slow", max_tokens=LONG, temperature=0)
        self.page.get_by_role("button", name="Compare two answers").click()
        self.send("Go on and on.")
        expect(self.page.locator(".comparison")).to_contain_text("Both are being written.")
        self.check(f"two answers being written, {look}")
        self.page.get_by_role("button", name="Stop").click()
        expect(self.page.get_by_role("button", name="A is better")).to_be_enabled()

    def test_feedback_with_days_and_trainings(self):
        with server_with_trainings(SCRATCH / "trainings.db") as at:
            self.in_each_look(self.read_feedback, at)

    def read_feedback(self, look):
        if "phone" in look:
            self.page.get_by_role("button", name="Conversations").click()
        self.page.get_by_role("button", name="Feedback").click()
        rows = self.page.locator("#trainings tbody tr")
        expect(rows).to_have_count(len(TRAININGS))
        # The last one first, with its figures as a person reads them.
        expect(rows.first).to_contain_text("71 % (64 % to 78 %)")
        expect(rows.first).to_contain_text("yes, and is served")
        expect(rows.last).to_contain_text("not compared")
        expect(self.page.locator("#days tbody tr")).to_have_count(1)
        self.check(f"feedback and trainings, {look}")

    def test_code_and_tables(self):
        text = "# A heading\n\n- one\n- two\n\n```python\nprint('x' * 200)\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> quoted, with a [link](https://example.org)\n"
        with server_with_answer(text) as (at, conversation):
            self.reopen(f"/#{conversation}", at)
            expect(self.words.locator("table")).to_be_visible()
            self.check("Markdown")


if __name__ == "__main__":
    unittest.main()
