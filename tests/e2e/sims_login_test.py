# SPDX-License-Identifier: Apache-2.0
"""The SIM-S towards browsers: authorization requests, login, consent and logout pages."""
import json
import re
import unittest
import urllib.parse

import sims
from sims import PASSWORD, Browser, Forms, details, sim

EVIL = "\"><script>alert('x')</script>&"


def settings(server, config):
    config["login"].update(attempts_per_user=5, attempt_per_user_s=3600,
                           attempts_per_address=1000, attempt_per_address_s=1)
    return config


def setUpModule():
    Pages.sims = server = sims.Sims(settings)
    for user in ("anna", "bert"):
        server.add_user(user, name=user.title())
    Pages.app = server.add_client("app")
    Pages.asking = server.add_client("asking", consent=sim.CONSENT_RULE_ONCE, name="Game & Co")
    Pages.always = server.add_client("always", consent=sim.CONSENT_RULE_ALWAYS)
    Pages.web = server.add_client(
        "web", "client_secret_basic", redirect_uris=["https://web.example/cb?tenant=1"])


def tearDownModule():
    assert Pages.sims.stop() == 0


class Pages(unittest.TestCase):
    def setUp(self):
        self.browser = Browser(self.sims)

    def logged_in(self, username="anna"):
        browser = Browser(self.sims)
        browser.code(self.app, username)
        return browser

    def page(self, reply, status=400):
        """A page, and nothing that leads anywhere."""
        self.assertEqual(reply.status, status, reply.text)
        self.assertIsNone(reply.header("location"))
        self.assertIn("text/html", reply.header("content-type"))
        return reply

    def error(self, reply, error, client=None):
        """A redirect with that error, the state and the issuer."""
        address, answer = reply.location
        self.assertEqual(address, (client or self.app).redirect_uri)
        self.assertEqual(answer["error"], error)
        self.assertEqual(answer["state"], "state-1")
        self.assertEqual(answer["iss"], self.sims.issuer)
        self.assertNotIn("code", answer)


class Requests(Pages):
    def test_correct_request_gets_a_login_page_then_a_code(self):
        page = self.page(self.browser.authorize(self.app), 200)
        address, answer = self.browser.login(page, "anna").location
        self.assertEqual(address, self.app.redirect_uri)
        self.assertEqual(set(answer), {"code", "state", "iss"})

    def test_request_by_post_is_the_same(self):
        page = self.browser.post("/authorize", self.app.query())
        _, answer = self.browser.login(page, "anna").location
        self.assertIn("code", answer)

    def test_state_comes_back_exactly(self):
        for state in ("a b+c&d=e%41", EVIL, "ünïcödé ☃", "x" * 2000, "a\r\nSet-Cookie: b=c"):
            page = self.browser.authorize(self.app, state=state)
            if page.status == 200:
                page = self.browser.login(page, "anna")
            self.assertEqual(page.location[1]["state"], state)

    def test_longest_state_comes_back_and_a_longer_one_is_refused(self):
        """Up to 4,096 bytes as they go back, percent-encoded, by GET and POST."""
        self.browser.code(self.app, "anna")
        base = self.app.query(state=None)
        for character, most in (("x", 4096), ("/", 1365), ("%E2%98%83", 455)):
            for length in (most, most + 1):
                query = f"{base}&state={character * length}"
                for reply in (self.sims.get("/authorize?" + query, self.browser.headers()),
                              self.sims.post("/authorize", query, self.browser.headers())):
                    if length == most:
                        self.assertEqual(reply.location[1]["state"],
                                         urllib.parse.unquote(character) * length)
                    else:
                        self.page(reply)
                        self.assertIn("4096 bytes", reply.text)

    def test_operator_finds_the_reason_of_a_refusal_by_its_request_id(self):
        for expected, change in (
                ({"message": "page says no"}, {"redirect_uri": "https://evil.example/"}),
                ({"message": "authorization refused", "client": self.app.client_id,
                  "refused": "invalid_scope"}, {"scope": "profile"})):
            reply = self.browser.authorize(self.app, **change)
            lines = [json.loads(line) for line in self.sims.read_log().splitlines()
                     if reply.header("x-request-id") in line]
            found = [line for line in lines if line["message"] == expected["message"]]
            self.assertEqual(len(found), 1, lines)
            self.assertLessEqual(expected.items(), found[0].items())
            self.assertTrue(found[0]["why"])

    def test_redirect_uri_that_differs_by_one_character_is_a_page_not_a_redirect(self):
        right = "http://127.0.0.1:41234/cb"
        for wrong in (right + "/", right + "?", right + "#a", right[:-1], right.upper(),
                      right.replace("http", "https"), right.replace("127.0.0.1", "localhost"),
                      right.replace("127.0.0.1", "127.0.0.2"), right.replace("/cb", "//cb"),
                      right.replace("/cb", "/../cb"), right.replace("/cb", "/%63b"),
                      right + "&a=b", "http://127.0.0.1:41234@evil.example/cb",
                      "http://127.0.0.1:0x1/cb", "https://evil.example/cb", "//evil.example/cb",
                      "javascript:alert(1)", right + "\t", right + " "):
            self.page(self.browser.authorize(self.app, redirect_uri=wrong))

    def test_registered_query_of_a_redirect_uri_is_kept_and_exact(self):
        page = self.browser.login(self.browser.authorize(self.web), "anna")
        address, answer = page.location
        self.assertEqual((address, answer["tenant"]), ("https://web.example/cb", "1"))
        self.assertIn("code", answer)
        for wrong in ("https://web.example/cb", "https://web.example/cb?tenant=2",
                      "https://web.example/cb?tenant=1&a=b", "https://web.example:443/cb?tenant=1"):
            self.page(self.browser.authorize(self.web, redirect_uri=wrong))

    def test_no_open_redirect_before_client_and_address_are_known(self):
        for changes in ({"client_id": None}, {"client_id": "nobody"}, {"redirect_uri": None},
                        {"client_id": "nobody", "redirect_uri": "https://evil.example/"},
                        {"response_type": "token", "client_id": "nobody"}):
            self.page(self.browser.authorize(self.app, **changes))
        query = self.app.query()
        for more in ("&client_id=app", "&redirect_uri=https%3A%2F%2Fevil.example",
                     "&redirect_uri=" + urllib.parse.quote(self.app.redirect_uri, safe="")):
            self.page(self.browser.get("/authorize?" + query + more))

    def test_errors_after_that_are_redirects(self):
        cases = {
            "unsupported_response_type": [{"response_type": "token"}, {"response_type": "id_token"},
                                          {"response_type": "code id_token"}],
            "invalid_request": [{"response_type": None}, {"code_challenge": None},
                                {"code_challenge_method": "plain"},
                                {"code_challenge_method": None}, {"code_challenge": "short"},
                                {"prompt": "none login"}, {"max_age": "soon"},
                                {"response_mode": "fragment"}],
            "invalid_scope": [{"scope": None}, {"scope": "seal.da"}, {"scope": "openid seal.km"}],
            "invalid_target": [{"resource": "https://elsewhere.example/"}],
            "request_not_supported": [{"request": "e30.e30."}],
            "request_uri_not_supported": [{"request_uri": "https://evil.example/r"}],
            "invalid_authorization_details": [
                {"authorization_details": details("a")[:-1]},
                {"authorization_details": details("a").replace("digital_asset", "other")},
                {"authorization_details": details("a", locations=["x"])},
                {"authorization_details": details("a", users=["msisdn-491110000001"])},
                {"authorization_details": details("../a")},
                {"authorization_details": details("a", actions=["fly"])},
                {"authorization_details": details("a")[:-1] + "," + details("b")[1:]}],
        }
        for error, requests in cases.items():
            for changes in requests:
                with self.subTest(error=error, changes=changes):
                    self.error(self.browser.authorize(self.app, **changes), error)

    def test_any_parameter_twice_is_refused(self):
        for more in ("scope=openid", "nonce=n", "unknown=1&unknown=1",
                     "authorization_details=a&authorization_details=a", "code%5Fchallenge=x"):
            reply = self.browser.get("/authorize?" + self.app.query() + "&" + more)
            self.error(reply, "invalid_request")
        address, answer = self.browser.get(
            "/authorize?" + self.app.query() + "&state=other").location
        self.assertEqual(answer["error"], "invalid_request")
        self.assertNotIn("state", answer)

    def test_unreadable_query_is_a_page(self):
        for query in ("client_id=%", "client_id=%zz", "client_id=%ff", "client_id=%00", "a=1&" * 99):
            self.page(self.browser.get("/authorize?" + query))

    def test_unknown_acr_values_are_preferences(self):
        page = self.page(self.browser.authorize(self.app, acr_values="urn:other"), 200)
        self.assertIn('name="password"', page.text)

    def test_prompt_none_never_shows_a_page(self):
        self.error(self.browser.authorize(self.app, prompt="none"), "login_required")
        browser = self.logged_in()
        self.assertIn("code", browser.authorize(self.app, prompt="none").location[1])
        self.error(browser.authorize(self.always, prompt="none"), "consent_required", self.always)

    def test_prompt_login_and_max_age_ask_again(self):
        browser = self.logged_in()
        for changes in ({"prompt": "login"}, {"prompt": "select_account"}, {"max_age": "0"}):
            page = self.page(browser.authorize(self.app, **changes), 200)
            self.assertIn('name="password"', page.text)
            self.assertIn("code", browser.login(page, "anna").location[1])
        self.assertIn("code", browser.authorize(self.app, max_age="3600").location[1])


class Login(Pages):
    def test_wrong_password_and_unknown_user_get_the_same_page(self):
        page = self.browser.authorize(self.app)
        wrong = self.browser.login(page, "bert", "wrong password")
        unknown = self.browser.login(page, "nobody", "wrong password")
        self.page(wrong, 403)
        strip = lambda text: re.sub(r'value="[^"]*"', "", text)  # noqa: E731
        self.assertEqual(strip(wrong.text), strip(unknown.text))
        self.assertIn('role="alert"', wrong.text)
        self.assertNotIn("wrong password", wrong.text)
        self.assertIn("code", self.browser.login(wrong, "bert").location[1])

    def test_guessing_is_limited_per_user_whoever_exists(self):
        for username in ("guessed", "nobody-at-all"):
            if username == "guessed":
                self.sims.add_user(username)
            page = self.browser.authorize(self.app)
            answers = [self.browser.login(page, username, f"wrong password {i}").status
                       for i in range(7)]
            self.assertEqual(answers, [403] * 5 + [429] * 2)
            last = self.browser.login(page, username)
            self.page(last, 429)
            self.assertGreater(int(last.header("retry-after")), 3000)
            self.assertIn("minutes", last.text)
        self.assertIn("code", self.browser.login(page, "anna").location[1])

    def test_success_does_not_count_as_a_try(self):
        self.sims.add_user("often")
        for _ in range(12):
            browser = Browser(self.sims)
            self.assertTrue(browser.code(self.app, "often"))

    def test_disabled_user_cannot_log_in_and_learns_nothing(self):
        self.sims.add_user("gone")
        self.sims.admin().UpdateUser(
            sim.UpdateUserRequest(username="gone", disabled=sim.SWITCH_ON), timeout=60)
        page = self.browser.authorize(self.app)
        self.assertIn("not right", self.page(self.browser.login(page, "gone"), 403).text)

    def test_each_login_has_a_new_session(self):
        browser = self.logged_in()
        first = browser.cookies["__Host-sim-session"]
        browser.login(browser.authorize(self.app, prompt="login"), "anna")
        second = browser.cookies["__Host-sim-session"]
        self.assertNotEqual(first, second)
        browser.cookies["__Host-sim-session"] = first
        self.error(browser.authorize(self.app, prompt="none"), "login_required")

    def test_session_that_was_planted_is_not_taken_over(self):
        victim = Browser(self.sims)
        victim.cookies["__Host-sim-session"] = "planted"
        victim.login(victim.authorize(self.app), "anna")
        self.assertNotEqual(victim.cookies["__Host-sim-session"], "planted")

    def test_login_form_of_another_browser_is_refused(self):
        """Login CSRF: an attacker's form, sent by the victim's browser, logs nobody in."""
        attacker = Browser(self.sims)
        form = Forms(attacker.authorize(self.app).text)
        sent = {**form.fields, "username": "bert", "password": PASSWORD}
        for victim in (Browser(self.sims), self.logged_in()):
            before = dict(victim.cookies)
            self.page(victim.post(form.action, sent), 403)
            self.assertEqual(before.get("__Host-sim-session"),
                             victim.cookies.get("__Host-sim-session"))

    def test_form_without_or_with_changed_marks_is_refused(self):
        page = self.browser.authorize(self.app)
        fields = {**Forms(page.text).fields, "username": "anna", "password": PASSWORD}
        other = {**fields, "request": self.web.query()}
        for sent in (other, {**fields, "csrf": ""}, {**fields, "csrf": "A" * 43},
                     {**fields, "at": "0"}, {**fields, "at": str(int(fields["at"]) + 1)},
                     {name: value for name, value in fields.items() if name != "csrf"}):
            self.page(self.browser.post("/login", sent), 403)
        cookies = self.browser.cookies.pop("__Host-sim-form")
        self.page(self.browser.post("/login", fields), 403)
        self.browser.cookies["__Host-sim-form"] = cookies
        self.assertIn("code", self.browser.post("/login", fields).location[1])

    def test_request_in_the_form_is_judged_again(self):
        page = self.browser.authorize(self.app)
        fields = {**Forms(page.text).fields, "username": "anna", "password": PASSWORD}
        evil = self.app.query(redirect_uri="https://evil.example/cb")
        self.page(self.browser.post("/login", {**fields, "request": evil}))

    def test_field_that_is_there_twice_is_refused(self):
        fields = {**Forms(self.browser.authorize(self.app).text).fields,
                  "username": "anna", "password": PASSWORD}
        sent = urllib.parse.urlencode(fields)
        self.page(self.browser.post("/login", sent + "&username=bert"))

    def test_forms_opened_without_an_application_say_so(self):
        for path in ("/login", "/consent"):
            self.page(self.browser.get(path))
            self.page(self.browser.post(path, {}))


class Echo(Pages):
    def no_markup(self, reply):
        self.assertNotIn("<script", reply.text)
        self.assertNotIn("alert('x')", reply.text)
        return reply

    def test_nothing_foreign_becomes_markup(self):
        for name in ("client_id", "redirect_uri", "scope", "state", "nonce", "login_hint", "prompt",
                     "max_age", "resource", "authorization_details", "code_challenge", "unknown"):
            reply = self.browser.authorize(self.app, **{name: EVIL})
            if reply.status != 303:
                self.no_markup(reply)
        page = self.browser.authorize(self.app, login_hint=EVIL, nonce=EVIL)
        self.assertEqual(Forms(page.text).fields["username"], EVIL)
        again = self.no_markup(self.browser.login(page, EVIL, "wrong password"))
        self.assertEqual(Forms(again.text).fields["username"], EVIL)
        fields = Forms(page.text).fields
        for name in ("request", "csrf", "at", "username", "password"):
            self.no_markup(self.browser.post("/login", {**fields, name: EVIL}))
            self.no_markup(self.browser.post("/consent", {**fields, name: EVIL}))
            self.no_markup(self.browser.post("/logout", {**fields, name: EVIL}))

    def test_names_of_clients_and_users_are_escaped(self):
        client = self.sims.add_client("evil", consent=sim.CONSENT_RULE_ALWAYS, name="<b>&\"'")
        page = self.browser.authorize(client)
        self.assertIn("<strong>&lt;b&gt;&amp;&quot;&#39;</strong>", page.text)
        page = self.browser.login(page, "anna")
        self.assertIn("<strong>&lt;b&gt;&amp;&quot;&#39;</strong>", page.text)

    def test_headers_of_pages(self):
        for page in (self.browser.authorize(self.app), self.browser.authorize(self.app, client_id="x"),
                     self.browser.get("/logout")):
            policy = page.header("content-security-policy")
            self.assertIn("default-src 'none'", policy)
            self.assertIn("frame-ancestors 'none'", policy)
            self.assertIn("base-uri 'none'", policy)
            self.assertNotIn("unsafe-inline", policy)
            self.assertEqual(page.header("cache-control"), "no-store")
            self.assertEqual(page.header("x-content-type-options"), "nosniff")
            self.assertEqual(page.header("referrer-policy"), "no-referrer")
            self.assertIn("max-age", page.header("strict-transport-security"))
            self.assertNotIn("<script", page.text)
        policy = self.browser.authorize(self.app).header("content-security-policy")
        self.assertIn("form-action 'self' http://127.0.0.1:41234;", policy)

    def test_header_cannot_be_injected(self):
        for changes in ({"state": "a\r\nX-Evil: 1"}, {"nonce": "a\nb"}, {"scope": "openid\r\nx"}):
            reply = self.browser.authorize(self.app, **changes)
            self.assertIsNone(reply.header("x-evil"))


class Consent(Pages):
    def consent(self, username="anna", client=None, **changes):
        page = self.browser.authorize(client or self.asking, **changes)
        return self.browser.login(page, username) if 'name="password"' in page.text else page

    def test_page_names_client_user_scopes_and_asset(self):
        self.sims.add_user("reader")
        page = self.page(self.consent("reader", scope="openid profile seal.da",
                                      authorization_details=details("avatar-7")), 200)
        for text in ("Game &amp; Co", "<strong>reader</strong>", "see your name",
                     "get the avatar <code>avatar-7</code> and no other"):
            self.assertIn(text, page.text)

    def test_once_allowed_is_not_asked_again_until_more_is_wanted(self):
        self.sims.add_user("once")
        self.assertIn("code", self.browser.submit(self.consent("once"), decision="allow").location[1])
        self.assertIn("code", self.consent("once").location[1])
        for changes in ({"scope": "openid seal.da profile"}, {"prompt": "consent"},
                        {"authorization_details": details()}):
            self.page(self.consent("once", **changes), 200)
        self.assertIn("code", self.browser.submit(
            self.consent("once", authorization_details=details("a")), decision="allow").location[1])
        self.assertIn("code", self.consent("once", authorization_details=details("b")).location[1])

    def test_denied_is_told_to_the_client(self):
        self.error(self.browser.submit(self.consent("bert"), decision="deny"), "access_denied",
                   self.asking)
        self.page(self.consent("bert"), 200)

    def test_rule_always_asks_always(self):
        for _ in range(2):
            page = self.page(self.consent(client=self.always), 200)
            self.assertIn("code", self.browser.submit(page, decision="allow").location[1])

    def test_consent_of_another_browser_session_or_request_is_refused(self):
        page = self.consent(client=self.always)
        fields = {**Forms(page.text).fields, "decision": "allow"}
        self.page(self.logged_in("bert").post("/consent", fields), 403)
        self.page(Browser(self.sims).post("/consent", fields), 403)
        other = {**fields, "request": self.always.query(scope="openid seal.da profile")}
        self.page(self.browser.post("/consent", other), 403)
        login = Forms(self.browser.authorize(self.always, prompt="login").text).fields
        self.page(self.browser.post("/consent", {**login, "decision": "allow"}), 403)
        self.assertIn("code", self.browser.post("/consent", fields).location[1])

    def test_consent_shown_to_one_user_is_not_given_by_the_next(self):
        page = self.consent("anna", self.always)
        self.browser.login(self.browser.authorize(self.app, prompt="login"), "bert")
        self.page(self.browser.submit(page, decision="allow"), 403)

    def test_no_decision_is_no_consent(self):
        page = self.consent(client=self.always)
        for decision in ("", "yes", "ALLOW"):
            self.page(self.browser.submit(page, decision=decision), 200)


class Logout(Pages):
    def test_logout_asks_and_ends_the_session(self):
        browser = self.logged_in()
        cookie = browser.cookies["__Host-sim-session"]
        page = self.page(browser.get("/logout"), 200)
        self.page(browser.submit(page), 200)
        self.assertNotIn("__Host-sim-session", browser.cookies)
        browser.cookies["__Host-sim-session"] = cookie
        self.error(browser.authorize(self.app, prompt="none"), "login_required")

    def test_link_or_form_from_elsewhere_ends_nothing(self):
        browser = self.logged_in()
        browser.get("/logout?post_logout_redirect_uri=https%3A%2F%2Fevil.example")
        self.page(browser.post("/logout", {}), 200)
        self.page(browser.post("/logout", {"csrf": "x", "at": "1"}), 403)
        self.assertIn("code", browser.authorize(self.app, prompt="none").location[1])

    def test_operator_ends_sessions(self):
        self.sims.add_user("ended")
        browser = self.logged_in("ended")
        self.sims.admin().EndSessions(sim.EndSessionsRequest(username="ended"), timeout=60)
        self.error(browser.authorize(self.app, prompt="none"), "login_required")


class Address(unittest.TestCase):
    def test_guessing_is_limited_per_address(self):
        def strict(server, config):
            config["login"].update(attempts_per_address=4, attempt_per_address_s=3600)
            return config
        server = sims.Sims(strict)
        try:
            server.add_user("anna")
            app, browser = server.add_client("app"), Browser(server)
            page = browser.authorize(app)
            answers = [browser.login(page, f"user-{i}", "wrong password").status for i in range(6)]
            self.assertEqual(answers, [403] * 4 + [429] * 2)
            self.assertEqual(browser.login(page, "anna").status, 429)
        finally:
            self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
