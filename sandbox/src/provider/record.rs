//! Owns: the truth about each request: what the provider really generated and what stands on its bill.

use super::Family;
use super::fault::Fault;
use crate::task::lock;
use domain::text_enum;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

const MOST_RECORDS: usize = 50_000;

/// Token counts, each token in exactly one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    pub input_tokens: u64,
    pub cache_read_tokens: u64,
    pub cache_write_5m_tokens: u64,
    pub cache_write_1h_tokens: u64,
    pub output_tokens: u64,
    pub reasoning_tokens: u64,
}

impl Usage {
    fn add(&mut self, other: &Usage) {
        self.input_tokens += other.input_tokens;
        self.cache_read_tokens += other.cache_read_tokens;
        self.cache_write_5m_tokens += other.cache_write_5m_tokens;
        self.cache_write_1h_tokens += other.cache_write_1h_tokens;
        self.output_tokens += other.output_tokens;
        self.reasoning_tokens += other.reasoning_tokens;
    }

    /// Everything that was read, cached or not.
    pub fn all_input(&self) -> u64 {
        self.input_tokens + self.cache_read_tokens + self.cache_write_5m_tokens + self.cache_write_1h_tokens
    }
}

text_enum! {
    /// How a request ended.
    Ending {
        Running = "running",
        Complete = "complete",
        /// The client hung up first.
        ClientLeft = "client_left",
        /// The sandbox broke the connection, as it was asked to.
        Cut = "cut",
        /// An error came after the answer had begun.
        Failed = "failed",
        /// Refused before anything was generated.
        Refused = "refused",
    }
}

/// One request to a provider, for tests and people to read.
#[derive(Clone, Debug, Serialize)]
pub struct ProviderRequest {
    /// As the response header says it (`request-id` at Anthropic, `x-request-id` at OpenAI).
    pub request_id: String,
    pub provider: Family,
    pub model: String,
    /// The last four characters of the key it came with.
    pub key_ending: String,
    /// The first words of the last message.
    pub prompt: String,
    pub is_stream: bool,
    pub max_tokens: Option<u64>,
    pub faults: Vec<Fault>,
    pub status: u16,
    pub ending: Ending,
    /// What stands on the provider's bill.
    pub billed: Usage,
}

/// The provider's bill as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub requests: u64,
    pub refused: u64,
    /// Requests that are still running are not in it yet.
    pub billed: Usage,
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Record(Mutex<ProviderRequest>);

impl Record {
    /// Changes what is known, while it runs.
    pub fn update(&self, change: impl FnOnce(&mut ProviderRequest)) {
        change(&mut lock(&self.0));
    }
}

/// The last requests, and the sums of all.
#[derive(Debug, Default)]
pub struct Log {
    records: Mutex<VecDeque<Arc<Record>>>,
    totals: Mutex<Totals>,
}

impl Log {
    pub fn reset(&self) {
        lock(&self.records).clear();
        *lock(&self.totals) = Totals::default();
    }

    pub fn begin(&self, request: ProviderRequest) -> Arc<Record> {
        let record = Arc::new(Record(Mutex::new(request)));
        let mut records = lock(&self.records);
        if records.len() == MOST_RECORDS {
            records.pop_front();
        }
        records.push_back(record.clone());
        record
    }

    /// Ends a request and adds it to the sums; only the first ending counts.
    pub fn finish(&self, record: &Record, ending: Ending) {
        let mut request = lock(&record.0);
        if request.ending != Ending::Running {
            return;
        }
        request.ending = ending;
        let mut totals = lock(&self.totals);
        totals.requests += 1;
        totals.refused += u64::from(ending == Ending::Refused);
        totals.billed.add(&request.billed);
    }

    pub fn list(&self) -> Vec<ProviderRequest> {
        let records: Vec<Arc<Record>> = lock(&self.records).iter().cloned().collect();
        records.iter().map(|record| lock(&record.0).clone()).collect()
    }

    pub fn totals(&self) -> Totals {
        *lock(&self.totals)
    }
}
