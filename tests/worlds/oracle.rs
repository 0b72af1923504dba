//! The oracle: it knows what the issuer has published, when it was well and what the machine's clocks say, and judges each answer.

use aero2::{AccessToken, Claims, Error, Introspection, TokenErrorKind};

use crate::clock::{BASE, MINUTE, SECOND, Stamp};
use crate::keys::{HONEST, Token};
use crate::plan::Endpoint;
use crate::sim::{Call, Held, Sim};
use crate::site::{Entry, Path};

impl Sim {
    /// A call begins.
    pub(crate) fn begin(&mut self, now: Stamp) {
        self.site.advance_to(now.t);
        self.call = Call { start: now, ..Call::default() };
        self.take_snapshot_up(now);
        let max_stale = self.site.config.max_stale;
        if let Some(held) = &mut self.model.held {
            held.doubtful |= held.oldest(now) + SECOND >= held.ttl + max_stale;
        }
    }

    fn take_snapshot_up(&mut self, now: Stamp) {
        let Some(snapshot) = self.model.snapshot.clone().filter(|_| now.is_set() && self.model.held.is_none()) else {
            return;
        };
        if snapshot.fetched > now.wall + MINUTE {
            return;
        }
        let age = now.wall.saturating_sub(snapshot.fetched);
        let max_stale = self.site.config.max_stale;
        let doubtful = age + snapshot.slack >= max_stale;
        if age < snapshot.ttl + max_stale {
            let (set, ttl, slack) = (snapshot.set, snapshot.ttl, snapshot.slack);
            self.model.held = Some(Held { set, ttl, asked: now, got: now, age, slack, doubtful });
            self.model.document = Some(snapshot.document);
        }
        self.model.snapshot = None;
    }

    /// Since when this program may count on that path: the issuer is well, and all that it asked to wait for has passed. `None`: not
    /// yet.
    pub(crate) fn settled(&self, path: Path) -> Option<u64> {
        let endpoint = path.endpoint();
        let mut since = self.site.well_since(path)?.max(self.model.disturbed);
        for endpoint in [Endpoint::Discovery, endpoint] {
            since = since.max(self.model.quiet_until.get(&endpoint).copied().unwrap_or(0));
        }
        if let (Some((moved, _)), Some(document)) = (self.site.moved.get(&endpoint), self.model.document) {
            if document.t <= *moved {
                // The document is read again at the next attempt, at most once a minute.
                since = since.max(*self.model.outdated.get(&endpoint)?) + 66 * SECOND;
            } else {
                since = since.max(self.model.last_outdated.get(&endpoint).copied().unwrap_or(0));
            }
        }
        Some(self.past_spans(since))
    }

    /// The program has an old URL of the key set, at which an old set is served for ever.
    fn has_frozen_keys(&self) -> bool {
        let moved = self.site.moved.get(&Endpoint::Keys).filter(|(_, frozen)| *frozen);
        moved.is_some_and(|(moved, _)| self.model.document.is_some_and(|document| document.t <= *moved))
    }

    /// The end of the call that was under way at `t`, if there was one.
    fn past_spans(&self, t: u64) -> u64 {
        let spans = self.model.spans.iter().filter(|(start, end)| *start < t && t <= *end);
        spans.map(|(_, end)| *end).max().unwrap_or(t)
    }

    /// What holds for every call: its length, and what it says when it fails.
    fn end(&mut self, now: Stamp, what: &str, error: Option<&Error>) {
        let start = self.call.start;
        let taken = now.t - start.t;
        let timeout = self.site.config.timeout;
        self.expect(taken <= timeout, "no call over its budget", start.t, || format!("{what}: {taken} ms"));
        let n = self.call.sent.len();
        self.expect(n <= 6, "few requests in one call", start.t, || format!("{what}: {n}"));
        if taken >= 5 {
            self.model.spans.push_back((start.t, now.t));
            if self.model.spans.len() > 200 {
                self.model.spans.pop_front();
            }
        }
        let unsaid =
            error.filter(|error| matches!(error, Error::Network(_) | Error::OAuth(_)) && error.retry_after().is_none());
        // A failed introspection is no back-off, except where the issuer wants one.
        let unsaid = unsaid.filter(|_| what != "introspection" || n == 0);
        if let Some(error) = unsaid {
            self.fail("retry_after is there", start.t, format!("{what}: {error}"));
        }
        if let Some(wait) = error.and_then(Error::retry_after) {
            self.expect(wait.as_secs() <= 301, "retry_after is at most five minutes", start.t, || format!("{wait:?}"));
        }
        if self.trace {
            let told = error.map(|error| format!("{error}, {:?}", error.retry_after()));
            eprintln!("{:>10} {what} {} {:?} -> {told:?}", start.t, BASE + start.t, start.wall);
        }
    }

    pub(crate) fn verified(
        &mut self,
        token: &Token,
        before: Option<&Held>,
        now: Stamp,
        result: &Result<Claims, Error>,
    ) {
        self.end(now, "verification", result.as_ref().err());
        self.figures.tokens += 1;
        let start = self.call.start;
        let entry = Entry { kid: token.kid, key: token.key };
        let walls = [start.wall, now.wall];
        let good = token.key < HONEST;
        let in_time = walls.iter().all(|wall| {
            token.issued < wall + 29 * SECOND && token.expires + 29 * SECOND > *wall && now.is_set() && start.is_set()
        });
        if self.trace {
            eprintln!(
                "           {entry:?} in time: {in_time}, held {:?}, everywhere {:?}, well {:?}",
                self.model.held,
                self.site.everywhere.get(&entry),
                self.settled(Path::Verify)
            );
        }
        self.check_requests(entry, before, now);
        match result {
            Ok(_) => {
                self.figures.accepted += 1;
                self.check_acceptance(token, entry, now);
            }
            Err(error) => {
                let unavailable = error.http_status() == 503;
                *(if unavailable { &mut self.figures.unavailable } else { &mut self.figures.refused }) += 1;
                if let Error::Clock(_) = error {
                    self.check_clock_error(now);
                } else if !matches!(error, Error::Token(_) | Error::Network(_)) {
                    self.fail("401 or 503", start.t, format!("{error:?}"));
                } else if good && in_time {
                    self.check_refusal(entry, now, error);
                } else if !good {
                    self.check_forged_refusal(token, before, now, error);
                }
            }
        }
        self.check_refreshed(now);
        let frozen = self.site.moved.get(&Endpoint::Keys).is_some_and(|(_, frozen)| *frozen);
        let old = self.call.sent.iter().any(|sent| sent.endpoint == Endpoint::Keys && !sent.current);
        if result.is_err() && good && frozen && old {
            self.model.outdated.entry(Endpoint::Keys).or_insert(now.t);
        }
    }

    fn check_acceptance(&mut self, token: &Token, entry: Entry, now: Stamp) {
        let t = now.t;
        let text = || format!("{entry:?}");
        self.expect(token.key < HONEST, "nothing forged is accepted", t, text);
        let max_stale = self.site.config.max_stale;
        let held = self.model.held.clone();
        self.expect(held.as_ref().is_some_and(|held| held.has(entry)), "only the present key set counts", t, || {
            format!("{entry:?} by {held:?}")
        });
        if let Some(held) = held {
            let age = held.youngest(now);
            let bound = held.ttl + max_stale + SECOND;
            self.expect(age <= bound, "no key counts past its bound", t, || format!("{age} ms of {bound} ms"));
        }
        let expired = token.expires + 31 * SECOND <= self.call.start.wall;
        self.expect(!expired, "nothing expired is accepted", t, text);
        self.expect(now.is_set(), "nothing is accepted while the clock is not set", t, text);
    }

    /// Keys that are cached and good enough for this call.
    fn surely_held(&self, held: Option<&Held>, now: Stamp, has: impl Fn(&Held) -> bool) -> bool {
        let max_stale = self.site.config.max_stale;
        held.is_some_and(|held| has(held) && !held.doubtful && held.oldest(now) + SECOND < held.ttl + max_stale)
    }

    fn check_clock_error(&mut self, now: Stamp) {
        let start = self.call.start;
        let behind = now.wall + MINUTE < self.model.floor + 2 * SECOND;
        let shown =
            now.error() < 55 * SECOND && self.settled(Path::Verify).is_some_and(|since| start.t > since + 61 * SECOND);
        let right = !start.is_set() || !now.is_set() || (behind && !shown);
        let floor = self.model.floor;
        self.expect(right, "Error::Clock only while the clock is not set", start.t, || {
            format!("{} ms from the truth, snapshot of {} ms later", now.error(), floor.saturating_sub(now.wall))
        });
    }

    /// A good token was answered 401 or 503.
    fn check_refusal(&mut self, entry: Entry, now: Stamp, error: &Error) {
        let start = self.call.start;
        let held = self.model.held.clone();
        let t = start.t;
        let told = format!("{error} ({:?}) for {entry:?}", kind(error));
        if self.surely_held(held.as_ref(), now, |held| held.has(entry)) {
            self.fail("a good token whose key is held is accepted", t, format!("{told}; {held:?}"));
            return;
        }
        if let Error::Token(error) = error {
            use TokenErrorKind::{AmbiguousKey, BadSignature, UnfitKey, UnknownKey};
            let right = matches!(error.kind(), AmbiguousKey | BadSignature | UnfitKey | UnknownKey);
            self.expect(right, "a good token is refused for its key only", t, || told.clone());
        }
        let same_kid = held.is_some_and(|held| held.set.iter().any(|other| other.kid == entry.kid));
        // Nothing says that a key set is not the present one where it has a key of that kid, or no kids at all.
        if same_kid && self.has_frozen_keys() {
            return;
        }
        let Some((since, published)) = self.settled(Path::Verify).zip(self.site.everywhere.get(&entry).copied()) else {
            return;
        };
        let grace = if same_kid { 95 * SECOND } else { 30 * SECOND };
        let bound = (self.past_spans(published) + grace).max(since + grace.max(MINUTE)) + SECOND;
        let rule = if same_kid {
            "a new key under an old kid verifies within 95 s"
        } else {
            "a published key verifies within 30 s, and 60 s after an outage"
        };
        self.expect(t <= bound, rule, t, || {
            format!("{told}; published everywhere for {} ms, well for {} ms", t - published, t - since)
        });
    }

    fn check_forged_refusal(&mut self, token: &Token, before: Option<&Held>, now: Stamp, error: &Error) {
        let (start, held) = (self.call.start, self.model.held.clone());
        let known = |held: &Held| held.set.iter().any(|other| other.kid == token.kid);
        let expired = token.expires + MINUTE < start.wall;
        let judged = |held: &Held| expired || known(held);
        let both = self.surely_held(before, now, judged) && self.surely_held(held.as_ref(), now, judged);
        if both && error.http_status() != 401 {
            self.fail("a forged token that can be judged is refused with 401", start.t, format!("{error}"));
        }
    }

    /// No request, and so no wait, where the key is cached; past that, what a refresh may cost.
    fn check_requests(&mut self, entry: Entry, before: Option<&Held>, now: Stamp) {
        let start = self.call.start;
        if !self.surely_held(before, start, |held| held.has(entry)) || !start.is_set() || start.wall < self.model.floor
        {
            return;
        }
        let Some(held) = before else { return };
        let (n, taken, age) = (self.call.sent.len(), now.t - start.t, held.oldest(start) + SECOND);
        if 5 * age < 4 * held.ttl {
            self.expect(n == 0 && taken == 0, "no wait where the key is cached", start.t, || {
                format!("{n} requests, {taken} ms")
            });
        }
        let limit = self.site.config.refresh_timeout;
        if age < held.ttl {
            self.expect(taken <= limit, "a refresh ahead costs at most its time-out", start.t, || {
                format!("{taken} ms")
            });
        }
    }

    /// Where keys are past their time to live and the issuer is well, they have been fetched.
    fn check_refreshed(&mut self, now: Stamp) {
        let start = self.call.start;
        let Some(since) = self.settled(Path::Verify).filter(|_| start.is_set() && start.wall >= self.model.floor)
        else {
            return;
        };
        let Some(held) = self.model.held.clone() else { return };
        let over = held.youngest(start).saturating_sub(held.ttl);
        self.expect(
            over <= 62 * SECOND || start.t <= since + 62 * SECOND,
            "keys past their time to live are refreshed",
            now.t,
            || format!("{over} ms over {} ms, well for {} ms", held.ttl, start.t - since),
        );
    }

    pub(crate) fn minted(
        &mut self,
        client: usize,
        forced: bool,
        lived: Option<u64>,
        now: Stamp,
        result: &Result<AccessToken, Error>,
    ) {
        self.end(now, "token", result.as_ref().err());
        self.figures.mints += 1;
        let start = self.call.start;
        let sent = self.call.sent.iter().filter(|sent| sent.endpoint == Endpoint::Token);
        let (requests, fresh) = (sent.clone().count(), sent.clone().any(|sent| sent.good));
        let config = self.site.config.clone();
        self.check_token_requests(client, forced, lived, requests, now);
        match result {
            Ok(token) => {
                let known = self.model.tokens.get(&client).cloned();
                let right = known.as_ref().is_some_and(|known| known.text == token.expose_secret());
                self.expect(right, "the client's own newest token", start.t, || format!("client {client}"));
                self.expect(fresh || !forced, "a forced refresh brings a new token", start.t, || {
                    format!("client {client}")
                });
                let left = known.map_or(0, |known| known.left(now));
                self.expect(fresh || left + 100 >= 10 * SECOND, "a token has ten seconds to live", start.t, || {
                    format!("{left} ms")
                });
            }
            Err(error) => {
                let taken = now.t - start.t;
                let serves = !forced && lived.is_some_and(|left| left > 10 * SECOND + taken + 100);
                self.expect(!serves, "a token that lives serves through an outage", start.t, || {
                    format!("{error}, {lived:?} ms left")
                });
                let settled = self.settled(Path::Token);
                let late = settled.is_some_and(|since| start.t > since + 61 * SECOND);
                self.expect(!late, "a token 60 s after an outage", start.t, || {
                    format!("{error}, well since {settled:?}")
                });
            }
        }
        if lived.is_some_and(|left| left > 11 * SECOND) && !forced {
            let (taken, limit) = (now.t - start.t, config.refresh_timeout);
            self.expect(taken <= limit, "a refresh ahead costs at most its time-out", start.t, || {
                format!("token: {taken} ms")
            });
        }
    }

    fn check_token_requests(&mut self, client: usize, forced: bool, lived: Option<u64>, requests: usize, now: Stamp) {
        if requests == 0 || forced {
            return;
        }
        let (start, lifetime) = (self.call.start, self.site.config.m2m_lifetime);
        let early = lived.is_some_and(|left| 10 * left > 9 * lifetime + 10 * SECOND);
        self.expect(!early, "one token request for each token's life", start.t, || {
            format!("{lived:?} of {lifetime} ms left")
        });
        let window = self.model.token_requests.entry(client).or_default();
        window.extend(std::iter::repeat_n(now.t, requests));
        while window.front().is_some_and(|at| at + MINUTE <= now.t) {
            window.pop_front();
        }
        let n = window.len();
        // As for keys: where the issuer says when to come back, that counts.
        let most = if self.model.quiet_until.contains_key(&Endpoint::Token) { 61 } else { 9 };
        let most = most + usize::try_from(MINUTE / lifetime.saturating_sub(10 * SECOND).max(5 * SECOND)).unwrap();
        self.expect(n <= most, "back-off between token requests", start.t, || format!("{n} in a minute"));
    }

    pub(crate) fn introspected(
        &mut self,
        token: &str,
        known: Option<(bool, Stamp, Stamp)>,
        now: Stamp,
        result: &Result<Introspection, Error>,
    ) {
        self.end(now, "introspection", result.as_ref().err());
        self.figures.introspections += 1;
        let start = self.call.start;
        let ttl = self.site.config.introspection_ttl;
        let expires = self.site.minted.get(token).map_or(0, |minted| BASE + minted.expires);
        let asked = self.call.sent.iter().any(|sent| sent.endpoint == Endpoint::Introspection);
        let known_now = self.model.introspected.get(token).copied();
        match result {
            Ok(answer) => {
                let active = matches!(answer, Introspection::Active(_));
                let age = known_now.map(|(_, _, got)| now.elapsed(got));
                let right = age.is_some_and(|age| age <= ttl + 100);
                self.expect(right, "no introspection answer older than its bound", start.t, || {
                    format!("{age:?} of {ttl} ms")
                });
                let said = known_now.is_some_and(|(said, ..)| said);
                let expired = expires <= start.wall;
                self.expect(!active || said, "active is what the issuer has called active", start.t, String::new);
                self.expect(
                    !active || expires + 2 * SECOND > start.wall,
                    "nothing expired is active",
                    start.t,
                    String::new,
                );
                self.expect(
                    active || !said || expired || expires <= now.wall + 2 * SECOND,
                    "inactive only for a reason",
                    start.t,
                    String::new,
                );
            }
            Err(Error::Clock(_)) => self.check_clock_error(now),
            Err(error) => {
                let slow = if self.model.document.is_some() { SECOND } else { 61 * SECOND };
                let settled = self.settled(Path::Introspection);
                let late = settled.is_some_and(|since| start.t > since + slow);
                self.expect(!late, "introspection works again after an outage", start.t, || {
                    format!("{error}, well since {settled:?}")
                });
            }
        }
        // Where the answer that is kept is young enough, nobody is asked.
        let kept = known.is_some_and(|(active, asked, _)| {
            let bound = if active { ttl } else { ttl.min(5 * SECOND) };
            start.is_set()
                && asked.is_set()
                && start.elapsed(asked) + SECOND < bound
                && (!active || expires > now.wall.max(asked.wall) + SECOND)
        });
        self.expect(!(kept && asked), "a kept introspection answer serves", start.t, || format!("{known:?}"));
    }

    /// The program's own timer: it refreshes what is due and nothing else.
    pub(crate) fn refreshed(&mut self, before: Option<&Held>, now: Stamp, result: &Result<(), Error>) {
        self.end(now, "refresh", result.as_ref().err());
        let start = self.call.start;
        let young = before.is_some_and(|held| 5 * (held.oldest(start) + SECOND) < 4 * held.ttl);
        let document = self.model.document.is_some_and(|at| start.elapsed(at) < 19 * 60 * MINUTE);
        let n = self.call.sent.iter().filter(|sent| sent.endpoint == Endpoint::Keys).count();
        self.expect(!(young && document && n > 0), "the timer sends only what is due", start.t, || format!("{n}"));
    }
}

fn kind(error: &Error) -> Option<TokenErrorKind> {
    match error {
        Error::Token(error) => Some(error.kind()),
        _ => None,
    }
}
