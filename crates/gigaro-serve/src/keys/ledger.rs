//! What keys have used, and whether they may use more.
//!
//! A minute's limit is a bucket that fills evenly: a key that waited may ask in a burst, and over any minute it gets what it may. Nobody knows
//! beforehand how many tokens a reply will have; they are taken when it ends, so that a limit of tokens may be overdrawn by the replies under
//! way, and no reply that has begun is cut. Whoever has overdrawn waits until that is made good. A day's use is counted by the days of UTC.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::usage::{UsageError, UsageStore, Used};
use super::{Key, KeyLimits};

const DAY_S: i64 = 24 * 60 * 60;

/// A moment: for measuring, and by the calendar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) instant: Instant,
    /// Seconds since 1970.
    pub(crate) unix: i64,
}

impl Clock {
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            instant: Instant::now(),
            unix: since.map_or(0, |since| since.as_secs().cast_signed()),
        }
    }

    /// Days since 1970.
    fn day(self) -> i64 {
        self.unix.div_euclid(DAY_S)
    }

    fn to_midnight_s(self) -> u64 {
        (DAY_S - self.unix.rem_euclid(DAY_S)).unsigned_abs()
    }
}

/// What has run out, and when there is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Over {
    /// `requests per minute`, and so on.
    pub(crate) what: &'static str,
    pub(crate) limit: u64,
    pub(crate) retry_after_s: u64,
    /// Whether it is a day's quota and not a matter of moments.
    pub(crate) is_quota: bool,
}

/// How much is left of what runs out first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    pub(crate) reset_s: u64,
}

/// What is left after a request was let in or refused; nothing where there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) requests: Option<Left>,
    pub(crate) tokens: Option<Left>,
}

/// What was taken of a minute's limit and has not come back.
#[derive(Debug, Default)]
struct Bucket {
    taken: f64,
    at: Option<Instant>,
}

impl Bucket {
    /// How much may be taken; less than 0 if it is overdrawn.
    fn left(&mut self, limit: u64, now: Instant) -> f64 {
        let limit = limit as f64;
        let before = self.at.replace(now).unwrap_or(now);
        let back = limit * now.saturating_duration_since(before).as_secs_f64() / 60.0;
        self.taken = (self.taken - back).max(0.0);
        limit - self.taken
    }

    fn standing(&mut self, limit: u64, now: Instant) -> Left {
        let left = self.left(limit, now);
        Left {
            limit,
            remaining: left.max(0.0) as u64,
            reset_s: (self.taken * 60.0 / limit as f64).ceil() as u64,
        }
    }
}

#[derive(Debug, Default)]
struct Account {
    limits: KeyLimits,
    requests: Bucket,
    tokens: Bucket,
    /// The day that `used` is about.
    day: i64,
    used: Used,
    /// Of that, what the store does not know yet.
    unsaved: Used,
    running: u64,
}

/// The accounts of all keys, by their names.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    accounts: Mutex<HashMap<Arc<str>, Account>>,
    store: Mutex<Option<UsageStore>>,
}

/// A request that was let in; dropped when its answer is over.
#[derive(Debug)]
pub(crate) struct Pass {
    ledger: Arc<Ledger>,
    key: Arc<str>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(account) = self.ledger.accounts().get_mut(&self.key) {
            account.running = account.running.saturating_sub(1);
        }
    }
}

impl Ledger {
    /// Lets a request of `key` in, and counts it.
    pub(crate) fn admit(self: &Arc<Self>, key: &Key, now: Clock) -> (Result<Pass, Over>, Standing) {
        let mut accounts = self.accounts();
        let account = accounts.entry(key.name.clone()).or_default();
        account.turn_to(now);
        account.limits = key.limits;
        let over = account.over(now);
        if over.is_none() {
            account.requests.taken += 1.0;
            account.count(Used {
                requests: 1,
                tokens: 0,
            });
            account.running += 1;
        }
        let standing = account.standing(now);
        drop(accounts);
        let pass = || Pass {
            ledger: self.clone(),
            key: key.name.clone(),
        };
        (over.map_or_else(|| Ok(pass()), Err), standing)
    }

    /// Counts tokens of a reply that has ended.
    pub(crate) fn spend(&self, key: &str, tokens: u64, now: Clock) {
        let mut accounts = self.accounts();
        // Only who was let in has an account; a server without limits has none.
        let Some(account) = accounts.get_mut(key) else {
            return;
        };
        account.turn_to(now);
        if let Some(limit) = account.limits.tokens_per_minute {
            account.tokens.left(limit.get(), now.instant);
            account.tokens.taken += tokens as f64;
        }
        account.count(Used {
            requests: 0,
            tokens,
        });
    }

    /// From now on keeps use in a store, and begins with what it has of today.
    pub(crate) fn keep(&self, mut store: UsageStore) -> Result<(), UsageError> {
        let now = Clock::now();
        for (name, used) in store.of_day(now.day())? {
            let mut accounts = self.accounts();
            let account = accounts.entry(name.into()).or_default();
            account.turn_to(now);
            account.used = used;
        }
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = Some(store);
        Ok(())
    }

    /// Stores what was used since the last time, and takes over what other servers have stored of the same keys.
    pub(crate) fn save(&self) -> Result<(), UsageError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(store) = store.as_mut() else {
            return Ok(());
        };
        let unsaved: Vec<(Arc<str>, i64, Used)> = {
            let accounts = self.accounts();
            let changed = accounts
                .iter()
                .filter(|(_, a)| a.unsaved != Used::default());
            changed
                .map(|(name, a)| (name.clone(), a.day, a.unsaved))
                .collect()
        };
        for (name, day, used) in unsaved {
            let stored = store.add(&name, day, used)?;
            if let Some(account) = self.accounts().get_mut(&name)
                && account.day == day
            {
                account.unsaved = account.unsaved.less(used);
                account.used = stored.more(account.unsaved);
            }
        }
        Ok(())
    }

    /// What a key has used today, and how many requests of it are under way.
    pub(crate) fn used(&self, key: &str, now: Clock) -> (Used, u64) {
        let mut accounts = self.accounts();
        accounts
            .get_mut(key)
            .map_or_else(Default::default, |account| {
                account.turn_to(now);
                (account.used, account.running)
            })
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<Arc<str>, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// A new day begins with nothing used.
    fn turn_to(&mut self, now: Clock) {
        if self.day != now.day() {
            // What was used in the last second of the day before and is not stored is forgiven.
            self.day = now.day();
            self.used = Used::default();
            self.unsaved = Used::default();
        }
    }

    fn count(&mut self, used: Used) {
        self.used = self.used.more(used);
        self.unsaved = self.unsaved.more(used);
    }

    /// What keeps another request out, the longest wait first.
    fn over(&mut self, now: Clock) -> Option<Over> {
        let KeyLimits {
            requests_per_minute,
            tokens_per_minute,
            requests_per_day,
            tokens_per_day,
            concurrent_requests,
        } = self.limits;
        let day = |what, limit: Option<NonZeroU64>, used: u64| {
            let limit = limit?.get();
            (used >= limit).then(|| Over {
                what,
                limit,
                retry_after_s: now.to_midnight_s(),
                is_quota: true,
            })
        };
        let minute = |what, limit: Option<NonZeroU64>, bucket: &mut Bucket| {
            let limit = limit?.get();
            let missing = 1.0 - bucket.left(limit, now.instant);
            (missing > 0.0).then(|| Over {
                what,
                limit,
                retry_after_s: (missing * 60.0 / limit as f64).ceil().max(1.0) as u64,
                is_quota: false,
            })
        };
        let at_once = |limit: Option<NonZeroU64>, running: u64| {
            let limit = limit?.get();
            (running >= limit).then_some(Over {
                what: "requests at once",
                limit,
                retry_after_s: 1,
                is_quota: false,
            })
        };
        day("requests per day", requests_per_day, self.used.requests)
            .or_else(|| day("tokens per day", tokens_per_day, self.used.tokens))
            .or_else(|| {
                minute(
                    "requests per minute",
                    requests_per_minute,
                    &mut self.requests,
                )
            })
            .or_else(|| minute("tokens per minute", tokens_per_minute, &mut self.tokens))
            .or_else(|| at_once(concurrent_requests, self.running))
    }

    /// Of requests and of tokens, the limit of which least is left.
    fn standing(&mut self, now: Clock) -> Standing {
        let day = |limit: Option<NonZeroU64>, used: u64| {
            limit.map(|limit| Left {
                limit: limit.get(),
                remaining: limit.get().saturating_sub(used),
                reset_s: now.to_midnight_s(),
            })
        };
        let (limits, at) = (self.limits, now.instant);
        let requests = limits.requests_per_minute;
        let requests = requests.map(|limit| self.requests.standing(limit.get(), at));
        let tokens = limits.tokens_per_minute;
        let tokens = tokens.map(|limit| self.tokens.standing(limit.get(), at));
        let least = |a: Option<Left>, b: Option<Left>| {
            a.into_iter().chain(b).min_by_key(|left| left.remaining)
        };
        Standing {
            requests: least(requests, day(limits.requests_per_day, self.used.requests)),
            tokens: least(tokens, day(limits.tokens_per_day, self.used.tokens)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn key(limits: KeyLimits) -> Key {
        Key {
            name: "ann".into(),
            scopes: Vec::new(),
            limits,
            expires: None,
            hashes: Vec::new(),
        }
    }

    fn at(start: Instant, seconds: u64) -> Clock {
        Clock {
            instant: start + Duration::from_secs(seconds),
            // An hour before midnight of some day.
            unix: 23 * 3600 + seconds.cast_signed(),
        }
    }

    fn limit(n: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(n)
    }

    /// Whether a request is let in, and is over at once.
    fn asks(ledger: &Arc<Ledger>, key: &Key, now: Clock) -> Result<(), Over> {
        ledger.admit(key, now).0.map(drop)
    }

    #[test]
    fn a_minute_gives_so_many_requests_and_tells_when_there_is_one_more() {
        let (ledger, start) = (Arc::new(Ledger::default()), Instant::now());
        let key = key(KeyLimits {
            requests_per_minute: limit(6),
            ..KeyLimits::default()
        });
        for left in (0..6).rev() {
            let (pass, standing) = ledger.admit(&key, at(start, 0));
            assert!(pass.is_ok());
            let requests = standing.requests.expect("a limit");
            assert_eq!((requests.limit, requests.remaining), (6, left));
        }
        let over = asks(&ledger, &key, at(start, 0)).expect_err("too many");
        assert_eq!((over.what, over.retry_after_s), ("requests per minute", 10));
        assert!(asks(&ledger, &key, at(start, 9)).is_err());
        assert!(asks(&ledger, &key, at(start, 10)).is_ok());
        assert!(asks(&ledger, &key, at(start, 10)).is_err());
        // A minute of silence fills it, and no more than that.
        for _ in 0..6 {
            assert!(asks(&ledger, &key, at(start, 200)).is_ok());
        }
        assert!(asks(&ledger, &key, at(start, 200)).is_err());
    }

    #[test]
    fn tokens_are_taken_at_the_end_and_made_good_before_the_next_request() {
        let (ledger, start) = (Arc::new(Ledger::default()), Instant::now());
        let key = key(KeyLimits {
            tokens_per_minute: limit(60),
            ..KeyLimits::default()
        });
        assert!(asks(&ledger, &key, at(start, 0)).is_ok());
        ledger.spend("ann", 90, at(start, 0));
        let over = asks(&ledger, &key, at(start, 0)).expect_err("overdrawn");
        assert_eq!((over.what, over.retry_after_s), ("tokens per minute", 31));
        assert!(asks(&ledger, &key, at(start, 30)).is_err());
        assert!(asks(&ledger, &key, at(start, 31)).is_ok());
        // Nobody else is touched, and who has no account gets none.
        ledger.spend("bob", 90, at(start, 31));
        assert_eq!(ledger.used("bob", at(start, 31)), Default::default());
    }

    #[test]
    fn a_day_has_its_quota_and_a_new_day_another() {
        let (ledger, start) = (Arc::new(Ledger::default()), Instant::now());
        let key = key(KeyLimits {
            requests_per_day: limit(2),
            tokens_per_day: limit(100),
            ..KeyLimits::default()
        });
        assert!(asks(&ledger, &key, at(start, 0)).is_ok());
        ledger.spend("ann", 100, at(start, 1));
        let over = asks(&ledger, &key, at(start, 1)).expect_err("used up");
        assert_eq!((over.what, over.is_quota), ("tokens per day", true));
        assert_eq!(over.retry_after_s, 3599);
        assert!(asks(&ledger, &key, at(start, 3600)).is_ok());
        assert!(asks(&ledger, &key, at(start, 3601)).is_ok());
        let over = asks(&ledger, &key, at(start, 3602)).expect_err("used up");
        assert_eq!(over.what, "requests per day");
    }

    #[test]
    fn so_many_are_under_way_at_once_and_one_that_ends_makes_room() {
        let (ledger, start) = (Arc::new(Ledger::default()), Instant::now());
        let key = key(KeyLimits {
            concurrent_requests: limit(2),
            ..KeyLimits::default()
        });
        let first = ledger.admit(&key, at(start, 0)).0.expect("let in");
        let _second = ledger.admit(&key, at(start, 0)).0.expect("let in");
        let over = asks(&ledger, &key, at(start, 0)).expect_err("two are under way");
        assert_eq!(over.what, "requests at once");
        drop(first);
        assert!(asks(&ledger, &key, at(start, 0)).is_ok());
    }

    #[test]
    fn use_outlives_a_restart_and_is_shared_by_servers() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut places = vec![folder.path().join("usage.db")];
        places.extend(crate::database::testing::fresh().map(Into::into));
        for place in places {
            let begin = || {
                let ledger = Arc::new(Ledger::default());
                let store = UsageStore::open(&place).expect("opens");
                ledger.keep(store).expect("read");
                ledger
            };
            let key = key(KeyLimits {
                tokens_per_day: limit(100),
                ..KeyLimits::default()
            });
            let (one, other, now) = (begin(), begin(), Clock::now());
            assert!(asks(&one, &key, now).is_ok());
            one.spend("ann", 60, now);
            one.save().expect("stored");
            assert!(asks(&other, &key, now).is_ok());
            other.spend("ann", 50, now);
            other.save().expect("stored");
            assert!(
                asks(&other, &key, now).is_err(),
                "together they have used 110"
            );
            other.save().expect("nothing to store");
            let (used, _) = begin().used("ann", now);
            assert_eq!(
                used,
                Used {
                    requests: 2,
                    tokens: 110
                }
            );
        }
    }
}
