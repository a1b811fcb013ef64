//! Owns: what can go wrong at a provider, the names it is asked for by, and how several of them act together.
//!
//! A fault is asked for by the library (`Sandbox::inject`), by `/control/fault`, by the header `x-sandbox-fault`, by a line
//! `sandbox: cut_after=3, crlf` in the prompt, or by the key (`…invalid…`, `…nocredit…`, `…restricted…`, `…region…`, `…limited…`).

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Fault {
    /// 400.
    BadRequest,
    /// 401.
    InvalidKey,
    /// OpenAI: 401 with "Missing scopes"; Anthropic: 403.
    MissingScopes,
    /// 403.
    Permission,
    /// 403: the country is not served.
    RegionBlocked,
    /// 402.
    Billing,
    /// 429 with `retry-after` in seconds.
    RateLimited(u64),
    /// 500.
    ServerError,
    /// Anthropic: 529; OpenAI: 503.
    Overloaded,
    /// Anthropic's 400 "credit balance is too low"; OpenAI: as `InsufficientQuota`.
    CreditTooLow,
    /// OpenAI's 429 `insufficient_quota`; Anthropic: as `CreditTooLow`.
    InsufficientQuota,
    /// No answer at all.
    HangFirst,
    /// The first byte comes after so many milliseconds.
    SlowFirst(u64),
    /// After so many pieces of text nothing more comes.
    HangAfter(u64),
    /// After so many pieces of text the connection breaks off.
    CutAfter(u64),
    /// After so many pieces of text comes an error event (200 was already answered).
    ErrorAfter(u64),
    /// The model says nothing.
    Empty,
    /// The stream ends without usage.
    NoUsage,
    /// The model says what it was told.
    Echo,
    /// All counts are reported, and billed, as zero.
    ZeroUsage,
    /// Lines end in CR LF.
    Crlf,
    /// Every byte comes alone.
    SplitBytes,
    /// So many tokens more than the cap.
    Overshoot(u64),
    /// So many tokens of thought before the answer (OpenAI).
    Reasoning(u64),
    /// So many tokens in one piece of a stream; 4 without it.
    ChunkTokens(u64),
}

/// A name that no fault has.
#[derive(Clone, Debug)]
pub struct UnknownFault(String);

impl fmt::Display for UnknownFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the sandbox knows no fault `{}`", self.0)
    }
}

impl FromStr for Fault {
    type Err = UnknownFault;
    fn from_str(text: &str) -> Result<Fault, UnknownFault> {
        let (name, number) = match text.trim().split_once('=') {
            Some((name, number)) => {
                (name.trim(), Some(number.trim().parse::<u64>().map_err(|_| UnknownFault(text.to_owned()))?))
            }
            None => (text.trim(), None),
        };
        Ok(match name {
            "bad_request" => Fault::BadRequest,
            "invalid_key" => Fault::InvalidKey,
            "missing_scopes" => Fault::MissingScopes,
            "permission" => Fault::Permission,
            "region_blocked" => Fault::RegionBlocked,
            "billing" => Fault::Billing,
            "rate_limited" => Fault::RateLimited(number.unwrap_or(2)),
            "server_error" => Fault::ServerError,
            "overloaded" => Fault::Overloaded,
            "credit_too_low" => Fault::CreditTooLow,
            "insufficient_quota" => Fault::InsufficientQuota,
            "hang_first" => Fault::HangFirst,
            "slow_first" => Fault::SlowFirst(number.unwrap_or(1_000)),
            "hang_after" => Fault::HangAfter(number.unwrap_or(3)),
            "cut_after" => Fault::CutAfter(number.unwrap_or(3)),
            "error_after" => Fault::ErrorAfter(number.unwrap_or(3)),
            "empty" => Fault::Empty,
            "no_usage" => Fault::NoUsage,
            "echo" => Fault::Echo,
            "zero_usage" => Fault::ZeroUsage,
            "crlf" => Fault::Crlf,
            "split_bytes" => Fault::SplitBytes,
            "overshoot" => Fault::Overshoot(number.unwrap_or(100)),
            "reasoning" => Fault::Reasoning(number.unwrap_or(200)),
            "chunk_tokens" => Fault::ChunkTokens(number.unwrap_or(1)),
            _ => return Err(UnknownFault(text.to_owned())),
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::BadRequest => f.write_str("bad_request"),
            Fault::InvalidKey => f.write_str("invalid_key"),
            Fault::MissingScopes => f.write_str("missing_scopes"),
            Fault::Permission => f.write_str("permission"),
            Fault::RegionBlocked => f.write_str("region_blocked"),
            Fault::Billing => f.write_str("billing"),
            Fault::RateLimited(seconds) => write!(f, "rate_limited={seconds}"),
            Fault::ServerError => f.write_str("server_error"),
            Fault::Overloaded => f.write_str("overloaded"),
            Fault::CreditTooLow => f.write_str("credit_too_low"),
            Fault::InsufficientQuota => f.write_str("insufficient_quota"),
            Fault::HangFirst => f.write_str("hang_first"),
            Fault::SlowFirst(ms) => write!(f, "slow_first={ms}"),
            Fault::HangAfter(pieces) => write!(f, "hang_after={pieces}"),
            Fault::CutAfter(pieces) => write!(f, "cut_after={pieces}"),
            Fault::ErrorAfter(pieces) => write!(f, "error_after={pieces}"),
            Fault::Empty => f.write_str("empty"),
            Fault::NoUsage => f.write_str("no_usage"),
            Fault::Echo => f.write_str("echo"),
            Fault::ZeroUsage => f.write_str("zero_usage"),
            Fault::Crlf => f.write_str("crlf"),
            Fault::SplitBytes => f.write_str("split_bytes"),
            Fault::Overshoot(tokens) => write!(f, "overshoot={tokens}"),
            Fault::Reasoning(tokens) => write!(f, "reasoning={tokens}"),
            Fault::ChunkTokens(tokens) => write!(f, "chunk_tokens={tokens}"),
        }
    }
}

impl TryFrom<String> for Fault {
    type Error = UnknownFault;
    fn try_from(text: String) -> Result<Fault, UnknownFault> {
        text.parse()
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> String {
        fault.to_string()
    }
}

/// The faults of a list such as `cut_after=3, crlf`; names that no fault has are left out.
pub fn read_list(text: &str) -> impl Iterator<Item = Fault> {
    text.split([',', ' ']).filter(|part| !part.is_empty()).filter_map(|part| part.parse().ok())
}

/// The faults that a prompt asks for, in a line that begins with `sandbox:`.
pub fn in_prompt(text: &str) -> Vec<Fault> {
    if !text.contains("sandbox:") {
        return Vec::new();
    }
    text.lines().filter_map(|line| line.trim().strip_prefix("sandbox:")).flat_map(read_list).collect()
}

/// The fault that a key stands for.
pub fn of_key(key: &str) -> Option<Fault> {
    [
        ("invalid", Fault::InvalidKey),
        ("nocredit", Fault::CreditTooLow),
        ("restricted", Fault::MissingScopes),
        ("region", Fault::RegionBlocked),
        ("limited", Fault::RateLimited(2)),
    ]
    .into_iter()
    .find_map(|(word, fault)| key.contains(word).then_some(fault))
}

/// How an answer breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    Hang,
    Cut,
    Error,
}

/// What is reported as usage at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    True,
    Nothing,
    Zero,
}

/// All faults of one request, as the answer needs them.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first fault that refuses the request.
    pub refusal: Option<Fault>,
    pub hangs_first: bool,
    pub slow_first_ms: u64,
    /// After how many pieces of text the answer breaks off, and how.
    pub breaks: Option<(u64, Break)>,
    pub is_empty: bool,
    pub echoes: bool,
    pub report: Report,
    pub crlf: bool,
    pub split_bytes: bool,
    pub overshoot_tokens: u64,
    pub reasoning_tokens: u64,
    pub chunk_tokens: u64,
}

impl Plan {
    pub fn new(faults: &[Fault]) -> Plan {
        let mut plan = Plan {
            refusal: None,
            hangs_first: false,
            slow_first_ms: 0,
            breaks: None,
            is_empty: false,
            echoes: false,
            report: Report::True,
            crlf: false,
            split_bytes: false,
            overshoot_tokens: 0,
            reasoning_tokens: 0,
            chunk_tokens: 4,
        };
        for fault in faults {
            match *fault {
                Fault::BadRequest
                | Fault::InvalidKey
                | Fault::MissingScopes
                | Fault::Permission
                | Fault::RegionBlocked
                | Fault::Billing
                | Fault::RateLimited(_)
                | Fault::ServerError
                | Fault::Overloaded
                | Fault::CreditTooLow
                | Fault::InsufficientQuota => plan.refusal = plan.refusal.or(Some(*fault)),
                Fault::HangFirst => plan.hangs_first = true,
                Fault::SlowFirst(ms) => plan.slow_first_ms = ms,
                Fault::HangAfter(pieces) => plan.breaks = Some((pieces, Break::Hang)),
                Fault::CutAfter(pieces) => plan.breaks = Some((pieces, Break::Cut)),
                Fault::ErrorAfter(pieces) => plan.breaks = Some((pieces, Break::Error)),
                Fault::Empty => plan.is_empty = true,
                Fault::Echo => plan.echoes = true,
                Fault::NoUsage => plan.report = Report::Nothing,
                Fault::ZeroUsage => plan.report = Report::Zero,
                Fault::Crlf => plan.crlf = true,
                Fault::SplitBytes => plan.split_bytes = true,
                Fault::Overshoot(tokens) => plan.overshoot_tokens = tokens,
                Fault::Reasoning(tokens) => plan.reasoning_tokens = tokens,
                Fault::ChunkTokens(tokens) => plan.chunk_tokens = tokens.max(1),
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_from_a_prompt() {
        let prompt = "Write a PRD.\nsandbox: cut_after=2, crlf nonsense\nThanks";
        assert_eq!(in_prompt(prompt), [Fault::CutAfter(2), Fault::Crlf]);
        assert_eq!("cut_after=2".parse::<Fault>().unwrap().to_string(), "cut_after=2");
        assert!(serde_json::from_str::<Fault>("\"nonsense\"").is_err());
    }
}
