//! Owns: how often somebody may try to sign in, sign up, reset a password or invite others.
//! Does not own: how many hashes run at a time (`password`), plan limits (`domain::limit`).
//! Invariant: nothing is locked for good, and one network alone cannot keep an owner out: what it may try with one
//! e-mail is less than what that e-mail gets back in the same time.

use crate::account::Email;
use crate::clock::Clock;
use domain::denial::Denial;
use domain::id::{AccountId, UserId};
use governor::clock::{Clock as _, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

/// Keys one limit remembers; when so many are busy at once, new ones wait.
const MOST_KEYS: usize = 100_000;

/// The limits of one node.
pub struct Limits {
    sign_in: Limit3,
    sign_up: Limit3,
    reset: Limit3,
    invite_account: Limit<AccountId>,
    invite_email: Limit<Email>,
    code: Limit<UserId>,
    redeem_user: Limit<UserId>,
    redeem_network: Limit<Network>,
}

/// A limit by network, by e-mail from one network, and by e-mail.
struct Limit3 {
    network: Limit<Network>,
    email_from_network: Limit<(Email, Network)>,
    email: Limit<Email>,
}

struct Limit<K: Hash + Eq + Clone> {
    keyed: RateLimiter<K, DashMapStateStore<K>, LimitClock, NoOpMiddleware<Nanos>>,
}

/// Who shares an address: one IPv4 address, or an IPv6 /64, which one household or server has to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Network(IpAddr);

/// The server's clock as `governor` wants it, so that a test drives both.
#[derive(Clone, Debug)]
struct LimitClock(Clock);

impl governor::clock::Clock for LimitClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.monotonic().into()
    }
}

impl Limits {
    /// In the demo everybody comes from one address, so that address may try more.
    pub fn new(clock: &Clock, demo: bool) -> Limits {
        let from_one_network = |burst: u32| if demo { 1_000 } else { burst };
        Limits {
            sign_in: Limit3 {
                network: Limit::new(clock, from_one_network(60), 10),
                email_from_network: Limit::new(clock, 10, 60),
                email: Limit::new(clock, 100, 30),
            },
            sign_up: Limit3 {
                network: Limit::new(clock, from_one_network(20), 60),
                email_from_network: Limit::new(clock, 3, 600),
                email: Limit::new(clock, 6, 300),
            },
            reset: Limit3 {
                network: Limit::new(clock, from_one_network(20), 60),
                email_from_network: Limit::new(clock, 3, 600),
                email: Limit::new(clock, 6, 300),
            },
            invite_account: Limit::new(clock, 50, 60),
            invite_email: Limit::new(clock, 5, 1_800),
            code: Limit::new(clock, 10, 60),
            redeem_user: Limit::new(clock, 10, 60),
            redeem_network: Limit::new(clock, from_one_network(30), 60),
        }
    }

    /// Counts an attempt to sign in.
    pub fn check_sign_in(&self, email: &Email, ip: IpAddr) -> Result<(), Denial> {
        self.sign_in.check(email, ip)
    }

    /// Counts an attempt to sign up; each sends a mail.
    pub fn check_sign_up(&self, email: &Email, ip: IpAddr) -> Result<(), Denial> {
        self.sign_up.check(email, ip)
    }

    /// Counts a try of a second factor's code, after the password was right.
    pub fn check_code(&self, user_id: &UserId) -> Result<(), Denial> {
        self.code.check(user_id.clone())
    }

    /// Counts a try to use a code that gives credit.
    pub fn check_redeem(&self, user_id: &UserId, ip: IpAddr) -> Result<(), Denial> {
        self.redeem_network.check(Network::of(ip))?;
        self.redeem_user.check(user_id.clone())
    }

    /// Counts an invitation; each sends a mail to somebody who did not ask for it.
    pub fn check_invite(&self, account_id: &AccountId, email: &Email) -> Result<(), Denial> {
        self.invite_email.check(email.clone())?;
        self.invite_account.check(account_id.clone())
    }

    /// Counts a request for a reset link; each sends a mail.
    pub fn check_reset(&self, email: &Email, ip: IpAddr) -> Result<(), Denial> {
        self.reset.check(email, ip)
    }
}

impl Limit3 {
    fn check(&self, email: &Email, ip: IpAddr) -> Result<(), Denial> {
        let network = Network::of(ip);
        self.network.check(network)?;
        self.email_from_network.check((email.clone(), network))?;
        self.email.check(email.clone())
    }
}

impl<K: Hash + Eq + Clone> Limit<K> {
    /// `burst` at once, and one more every `seconds_each`.
    fn new(clock: &Clock, burst: u32, seconds_each: u64) -> Limit<K> {
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(Duration::from_secs(seconds_each.max(1)))
            .unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN))
            .allow_burst(burst);
        Limit { keyed: RateLimiter::new(quota, DashMapStateStore::default(), LimitClock(clock.clone())) }
    }

    fn check(&self, key: K) -> Result<(), Denial> {
        if self.keyed.len() >= MOST_KEYS {
            self.keyed.retain_recent();
            if self.keyed.len() >= MOST_KEYS {
                return Err(Denial::TooManyAttempts { retry_after_seconds: 60 });
            }
        }
        self.keyed.check_key(&key).map_err(|until| {
            let wait: Duration = until.earliest_possible().duration_since(self.keyed.clock().now()).into();
            Denial::TooManyAttempts {
                retry_after_seconds: wait.as_nanos().div_ceil(1_000_000_000).try_into().unwrap_or(u64::MAX),
            }
        })
    }
}

impl Network {
    fn of(ip: IpAddr) -> Network {
        Network(match ip.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(v4),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        })
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::time::Timestamp;

    fn email(text: &str) -> Email {
        Email::parse(text).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn limits() -> (Clock, Limits) {
        let clock = Clock::manual(Timestamp::from_seconds(1_800_000_000));
        let limits = Limits::new(&clock, false);
        (clock, limits)
    }

    fn passed(limits: &Limits, times: u32, email: &Email, ip: IpAddr) -> usize {
        (0..times).filter(|_| limits.check_sign_in(email, ip).is_ok()).count()
    }

    #[test]
    fn one_network_gets_ten_tries_with_one_email_and_then_one_a_minute() {
        let (clock, limits) = limits();
        let (owner, home) = (email("owner@example.test"), ip("192.0.2.1"));
        assert_eq!(passed(&limits, 40, &owner, home), 10);
        let denied = limits.check_sign_in(&owner, home);
        assert_eq!(denied, Err(Denial::TooManyAttempts { retry_after_seconds: 60 }));
        clock.advance_seconds(60);
        assert_eq!(passed(&limits, 5, &owner, home), 1);
    }

    #[test]
    fn one_network_alone_does_not_keep_an_owner_out() {
        let (clock, limits) = limits();
        let (owner, attacker, home) = (email("owner@example.test"), ip("192.0.2.66"), ip("192.0.2.1"));
        for _minute in 0..600 {
            passed(&limits, 6, &owner, attacker);
            clock.advance_seconds(60);
        }
        assert_eq!(limits.check_sign_in(&owner, home), Ok(()));
    }

    #[test]
    fn many_networks_together_are_slowed_and_the_email_comes_back() {
        let (clock, limits) = limits();
        let owner = email("owner@example.test");
        let through =
            (0..=255_u8).filter(|last| limits.check_sign_in(&owner, ip(&format!("198.51.100.{last}"))).is_ok()).count();
        assert_eq!(through, 100);
        clock.advance_seconds(30);
        assert_eq!(limits.check_sign_in(&owner, ip("203.0.113.9")), Ok(()));
    }

    #[test]
    fn one_network_trying_many_emails_is_slowed() {
        let (_, limits) = limits();
        let through = (0..200)
            .filter(|n| limits.check_sign_in(&email(&format!("user{n}@example.test")), ip("192.0.2.1")).is_ok())
            .count();
        assert_eq!(through, 60);
    }

    #[test]
    fn an_ipv6_household_is_one_network() {
        assert_eq!(Network::of(ip("2001:db8:1:2::1")), Network::of(ip("2001:db8:1:2:ffff::9")));
        assert_ne!(Network::of(ip("2001:db8:1:2::1")), Network::of(ip("2001:db8:1:3::1")));
        assert_eq!(Network::of(ip("::ffff:192.0.2.1")), Network::of(ip("192.0.2.1")));
    }
}
