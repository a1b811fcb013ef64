//! Owns: the ledger's invariants (spec §6) as SQL. Tests, a job, admin pages and `tokenbank verify` run it.
//! Each query selects the rows that break one invariant, on both engines, as (row, problem).
//! It reads every row of the ledger, so it is for checking, not for serving.

use crate::db::Db;
use crate::error::{Error, Result};
use crate::on_read;

/// One row that breaks an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The invariant, such as `posting_sums_to_zero`.
    pub invariant: &'static str,
    /// The table and the row, such as `posting 0198…`.
    pub row: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Every row that breaks an invariant, at most a hundred for each; empty when the books are right.
///
/// Runs each query on its own, so while runs are being finished on Postgres it may see one half of two facts: what it
/// finds under load must be found again to count.
pub async fn check(db: &Db) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for &(invariant, sql) in INVARIANTS {
        let rows: Vec<(String, String)> = on_read!(db, pool => sqlx::query_as(sql).fetch_all(pool).await)
            .map_err(|error| Error::internal(&format!("check {invariant}"), error))?;
        findings.extend(rows.into_iter().map(|(row, problem)| Finding { invariant, row, problem }));
    }
    Ok(findings)
}

const INVARIANTS: &[(&str, &str)] = &[
    (
        "posting_sums_to_zero",
        "select 'posting ' || p.posting_id, 'its entries sum to ' || coalesce(sum(e.amount_nanos), 0) || ' nano-dollars'
           from posting p left join entry e on e.posting_id = p.posting_id
          group by p.posting_id
         having coalesce(sum(e.amount_nanos), 0) <> 0
          limit 100",
    ),
    (
        "posting_change_is_its_customer_entries",
        "select 'posting ' || p.posting_id, 'change is ' || p.change_nanos || ', its entries say ' ||
                coalesce(sum(case when e.book in ('paid', 'bonus', 'promotional', 'trial', 'held') then e.amount_nanos end), 0)
           from posting p left join entry e on e.posting_id = p.posting_id
          group by p.posting_id, p.change_nanos
         having p.change_nanos <>
                coalesce(sum(case when e.book in ('paid', 'bonus', 'promotional', 'trial', 'held') then e.amount_nanos end), 0)
          limit 100",
    ),
    (
        "entry_has_its_posting_and_account",
        "select 'entry ' || e.posting_id || ' line ' || e.line, 'its account or posting does not fit'
           from entry e left join posting p on p.posting_id = e.posting_id
          where p.posting_id is null
             or (e.book in ('paid', 'bonus', 'promotional', 'trial', 'held', 'receivable')
                 and (e.account_id is null or e.account_id <> p.account_id))
             or (e.book not in ('paid', 'bonus', 'promotional', 'trial', 'held', 'receivable') and e.account_id is not null)
             or (e.book in ('paid', 'bonus', 'promotional', 'trial')) <> (e.lot_id is not null)
          limit 100",
    ),
    (
        "balance_is_the_sum_of_entries",
        "select 'balance ' || coalesce(b.account_id, s.account_id), 'its books are not the sums of their entries'
           from (select account_id,
                        sum(case when book = 'paid' then amount_nanos else 0 end) as paid,
                        sum(case when book = 'bonus' then amount_nanos else 0 end) as bonus,
                        sum(case when book = 'promotional' then amount_nanos else 0 end) as promotional,
                        sum(case when book = 'trial' then amount_nanos else 0 end) as trial,
                        sum(case when book = 'held' then amount_nanos else 0 end) as held,
                        sum(case when book = 'receivable' then amount_nanos else 0 end) as receivable
                   from entry
                  where account_id is not null
                  group by account_id) s
           full join balance b on b.account_id = s.account_id
          where b.account_id is null
             or b.paid_nanos <> coalesce(s.paid, 0)
             or b.bonus_nanos <> coalesce(s.bonus, 0)
             or b.promotional_nanos <> coalesce(s.promotional, 0)
             or b.trial_nanos <> coalesce(s.trial, 0)
             or b.held_nanos <> coalesce(s.held, 0)
             or b.receivable_nanos <> coalesce(s.receivable, 0)
          limit 100",
    ),
    (
        "nothing_below_zero",
        "select 'balance ' || account_id, 'a book is below zero'
           from balance
          where paid_nanos < 0 or bonus_nanos < 0 or promotional_nanos < 0 or trial_nanos < 0 or held_nanos < 0
             or receivable_nanos > 0
          union all
         select 'lot ' || lot_id, 'what is left or held is below zero, or above the grant'
           from lot
          where remaining_nanos < 0 or held_nanos < 0 or remaining_nanos + held_nanos > granted_nanos
          limit 100",
    ),
    (
        "postings_form_a_chain",
        "select 'posting ' || posting_id, 'number ' || seq || ' does not follow from the one before it'
           from (select posting_id, seq, change_nanos, balance_after_nanos,
                        coalesce(lag(seq) over newest, 0) as seq_before,
                        coalesce(lag(balance_after_nanos) over newest, 0) as balance_before
                   from posting
                 window newest as (partition by account_id order by seq)) chain
          where seq <> seq_before + 1 or balance_after_nanos <> balance_before + change_nanos
          limit 100",
    ),
    (
        "balance_knows_its_newest_posting",
        "select 'balance ' || b.account_id, 'its newest posting should be number ' || b.last_seq
           from balance b left join posting p on p.account_id = b.account_id and p.seq = b.last_seq
          where b.last_seq <> coalesce((select max(seq) from posting where account_id = b.account_id), 0)
             or coalesce(p.balance_after_nanos, 0)
                <> b.paid_nanos + b.bonus_nanos + b.promotional_nanos + b.trial_nanos + b.held_nanos
          limit 100",
    ),
    (
        "lot_is_the_sum_of_its_entries",
        "select 'lot ' || l.lot_id, 'left is ' || l.remaining_nanos || ', its entries say ' || coalesce(sum(e.amount_nanos), 0)
           from lot l left join entry e on e.lot_id = l.lot_id and e.account_id = l.account_id and e.book = l.kind
          group by l.lot_id, l.remaining_nanos
         having l.remaining_nanos <> coalesce(sum(e.amount_nanos), 0)
          limit 100",
    ),
    (
        "lot_was_granted_once",
        "select 'lot ' || l.lot_id, 'granted is ' || l.granted_nanos || ', ' || count(p.posting_id) || ' grants say ' ||
                coalesce(sum(e.amount_nanos), 0)
           from lot l
           left join (entry e join posting p on p.posting_id = e.posting_id and p.kind = 'grant') on e.lot_id = l.lot_id
          group by l.lot_id, l.granted_nanos
         having count(p.posting_id) <> 1 or coalesce(sum(e.amount_nanos), 0) <> l.granted_nanos
          limit 100",
    ),
    (
        "held_is_the_open_holds",
        "select 'balance ' || b.account_id, 'held is ' || b.held_nanos || ', open holds say ' || coalesce(sum(h.amount_nanos), 0)
           from balance b left join hold h on h.account_id = b.account_id and h.state = 'open'
          group by b.account_id, b.held_nanos
         having b.held_nanos <> coalesce(sum(h.amount_nanos), 0)
          limit 100",
    ),
    (
        "held_of_lots_is_the_held_balance",
        "select 'balance ' || b.account_id, 'held is ' || b.held_nanos || ', its lots say ' || coalesce(sum(l.held_nanos), 0)
           from balance b left join lot l on l.account_id = b.account_id
          group by b.account_id, b.held_nanos
         having b.held_nanos <> coalesce(sum(l.held_nanos), 0)
          limit 100",
    ),
    (
        "lots_are_the_balance_by_kind",
        "select 'balance ' || b.account_id, 'its lots do not add up to its books'
           from balance b
           left join (select account_id,
                             sum(case when kind = 'paid' then remaining_nanos else 0 end) as paid,
                             sum(case when kind = 'bonus' then remaining_nanos else 0 end) as bonus,
                             sum(case when kind = 'promotional' then remaining_nanos else 0 end) as promotional,
                             sum(case when kind = 'trial' then remaining_nanos else 0 end) as trial
                        from lot
                       group by account_id) l on l.account_id = b.account_id
          where b.paid_nanos <> coalesce(l.paid, 0)
             or b.bonus_nanos <> coalesce(l.bonus, 0)
             or b.promotional_nanos <> coalesce(l.promotional, 0)
             or b.trial_nanos <> coalesce(l.trial, 0)
          limit 100",
    ),
    (
        "hold_began_once",
        "select 'hold ' || h.execution_id, 'its first posting is missing or says another amount'
           from hold h
           left join posting p on p.idempotency_key = 'hold:' || h.execution_id
                              and p.kind = 'hold' and p.account_id = h.account_id
           left join entry e on e.posting_id = p.posting_id and e.book = 'held'
          where p.posting_id is null or coalesce(e.amount_nanos, 0) <> h.amount_nanos
          union all
         select 'posting ' || p.posting_id, 'there is no hold of run ' || coalesce(p.reference, '?')
           from posting p left join hold h on h.execution_id = p.reference
          where p.kind in ('hold', 'capture', 'void', 'expire') and h.execution_id is null
          limit 100",
    ),
    (
        "hold_ended_once",
        "select 'hold ' || h.execution_id, 'is ' || h.state || ', its ending posting is ' || coalesce(p.kind, 'missing')
           from hold h left join posting p on p.idempotency_key = 'end:' || h.execution_id
          where case h.state when 'captured' then 'capture' when 'voided' then 'void' when 'expired' then 'expire' else '' end
                <> coalesce(p.kind, '')
             or coalesce(p.change_nanos, 0) <> -h.captured_nanos
          limit 100",
    ),
    (
        "run_has_one_end",
        "select 'posting ' || min(posting_id), count(*) || ' postings end run ' || reference
           from posting
          where kind in ('capture', 'void', 'expire')
          group by reference
         having count(*) > 1
          limit 100",
    ),
    (
        "charge_is_what_was_captured",
        "select 'execution ' || coalesce(x.execution_id, h.execution_id),
                'charge is ' || coalesce(x.charge_nanos, 0) || ', captured is ' || coalesce(h.captured_nanos, 0)
           from (select execution_id, account_id, captured_nanos, state from hold where state <> 'open') h
           full join execution x on x.execution_id = h.execution_id
          where x.execution_id is null
             or x.charge_nanos <> coalesce(h.captured_nanos, 0)
             or (h.execution_id is not null and h.account_id <> x.account_id)
             or (h.state = 'expired') <> (x.state = 'expired')
          limit 100",
    ),
    (
        "overrun_is_the_platforms_loss",
        "select 'hold ' || h.execution_id, 'overrun is ' || h.overrun_nanos || ', its entry says ' || coalesce(-e.amount_nanos, 0)
           from hold h
           left join posting p on p.idempotency_key = 'end:' || h.execution_id
           left join entry e on e.posting_id = p.posting_id and e.book = 'overrun_loss'
          where h.overrun_nanos <> coalesce(-e.amount_nanos, 0)
          limit 100",
    ),
    (
        "paid_purchase_was_granted_once",
        "select 'purchase ' || u.purchase_id, 'is paid, but its credit was not granted as sold'
           from purchase u
           left join posting p on p.idempotency_key = 'grant:' || u.purchase_id || ':paid' and p.account_id = u.account_id
           left join posting b on b.idempotency_key = 'grant:' || u.purchase_id || ':bonus' and b.account_id = u.account_id
          where (u.state = 'paid'
                 and (coalesce(p.change_nanos, 0) <> u.amount_nanos or coalesce(b.change_nanos, 0) <> u.bonus_nanos))
             or (u.state <> 'paid' and (p.posting_id is not null or b.posting_id is not null))
          limit 100",
    ),
    (
        "bought_credit_has_a_paid_purchase",
        "select 'posting ' || p.posting_id, 'grants bought credit without a paid purchase'
           from posting p
           join entry e on e.posting_id = p.posting_id and e.book in ('paid', 'bonus')
           left join purchase u on u.purchase_id = p.reference and u.state = 'paid' and u.account_id = p.account_id
          where p.kind = 'grant' and u.purchase_id is null
          limit 100",
    ),
    (
        "allowance_is_the_count_of_its_runs",
        "select 'allowance_use ' || coalesce(u.account_id, h.account_id) || ' ' || coalesce(u.period_start, h.allowance_period),
                'counts ' || coalesce(u.executions, 0) || ', its runs are ' || coalesce(h.executions, 0)
           from (select account_id, allowance_period, count(*) as executions
                   from hold
                  where allowance_period is not null and state in ('open', 'captured')
                  group by account_id, allowance_period) h
           full join allowance_use u on u.account_id = h.account_id and u.period_start = h.allowance_period
          where coalesce(u.executions, 0) <> coalesce(h.executions, 0)
          limit 100",
    ),
    (
        "day_is_the_sum_of_its_runs",
        "select 'platform_day ' || coalesce(d.account_id, h.account_id) || ' ' || coalesce(d.day, h.platform_day),
                'spent or held is not the sum of its runs'
           from (select h.account_id, h.platform_day,
                        sum(case when h.state = 'open' then h.platform_nanos else 0 end) as held,
                        sum(case when h.state <> 'open' then coalesce(x.cost_nanos, 0) else 0 end) as spent
                   from hold h left join execution x on x.execution_id = h.execution_id
                  where h.platform_day is not null
                  group by h.account_id, h.platform_day) h
           full join platform_day d on d.account_id = h.account_id and d.day = h.platform_day
          where coalesce(d.held_nanos, 0) <> coalesce(h.held, 0) or coalesce(d.spent_nanos, 0) <> coalesce(h.spent, 0)
          limit 100",
    ),
    (
        "run_counts_where_its_source_says",
        "select 'execution ' || x.execution_id, 'is paid by ' || x.source || ', its hold says otherwise'
           from execution x left join hold h on h.execution_id = x.execution_id
          where (x.source = 'allowance' and (h.allowance_period is null or h.amount_nanos <> 0))
             or (x.source <> 'allowance' and h.allowance_period is not null)
             or (x.source in ('allowance', 'trial')) <> (h.platform_day is not null)
          limit 100",
    ),
    (
        "trial_was_granted_once",
        "select 'trial ' || t.trial_id, 'its credit was not granted as promised'
           from trial t
           left join posting p on p.idempotency_key = 'grant:trial:' || t.trial_id || ':trial' and p.account_id = t.account_id
          where coalesce(p.change_nanos, 0) <> t.amount_nanos
          limit 100",
    ),
    (
        "code_gave_once_for_each_use",
        "select 'code_use ' || u.code_use_id, 'its credit was not given as promised'
           from code_use u
           join credit_code c on c.code_id = u.code_id
           left join posting p on p.idempotency_key = 'grant:code:' || u.code_use_id || ':promotional'
                              and p.account_id = u.account_id
          where coalesce(p.change_nanos, 0) <> c.amount_nanos
          limit 100",
    ),
    (
        "code_counts_its_uses",
        "select 'credit_code ' || c.code_id, 'counts ' || c.uses || ' uses, there are ' || count(u.code_use_id)
           from credit_code c
           left join code_use u on u.code_id = c.code_id
          group by c.code_id, c.uses
         having c.uses <> count(u.code_use_id)
          limit 100",
    ),
    (
        "usage_is_the_sum_of_runs",
        "select 'usage_hour ' || coalesce(u.account_id, x.account_id) || ' ' || coalesce(u.hour, x.hour) || ' '
                || coalesce(u.model_id, x.model_id),
                'is not the sum of its runs'
           from (select account_id, ended_at - ended_at % 3600000000 as hour, model_id, coalesce(skill_id, '') as skill_id,
                        source, count(*) as executions,
                        sum(input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens) as input_tokens,
                        sum(output_tokens + reasoning_tokens) as output_tokens,
                        sum(cost_nanos) as cost_nanos, sum(charge_nanos) as charge_nanos
                   from execution
                  group by account_id, ended_at - ended_at % 3600000000, model_id, coalesce(skill_id, ''), source) x
           full join usage_hour u on u.account_id = x.account_id and u.hour = x.hour and u.model_id = x.model_id
                                 and u.skill_id = x.skill_id and u.source = x.source
          where u.account_id is null
             or x.account_id is null
             or u.executions <> x.executions
             or u.input_tokens <> x.input_tokens
             or u.output_tokens <> x.output_tokens
             or u.cost_nanos <> x.cost_nanos
             or u.charge_nanos <> x.charge_nanos
          limit 100",
    ),
    (
        "claim_is_the_sum_of_its_postings",
        "select 'claim ' || c.claim_id, 'what it took, owes or paid out is not what its postings say'
           from claim c
           left join (select p.reference, p.account_id,
                             sum(case when e.book in ('paid', 'bonus') then -e.amount_nanos else 0 end) as taken,
                             sum(case when e.book = 'receivable' then -e.amount_nanos else 0 end) as owed,
                             sum(case when e.book = 'stripe_clearing' then e.amount_nanos else 0 end) as cash,
                             count(distinct p.posting_id) as changes
                        from posting p join entry e on e.posting_id = p.posting_id
                       where p.kind in ('refund', 'dispute')
                       group by p.reference, p.account_id) s on s.reference = c.claim_id and s.account_id = c.account_id
          where coalesce(s.taken, 0) + coalesce(s.owed, 0) <> c.credit_nanos + c.bonus_nanos
             or coalesce(s.owed, 0) <> c.owed_nanos
             or coalesce(s.cash, 0) <> c.cash_nanos
             or coalesce(s.changes, 0) <> c.changes
          union all
         select 'posting ' || p.posting_id, 'there is no claim ' || coalesce(p.reference, '?')
           from posting p left join claim c on c.claim_id = p.reference and c.account_id = p.account_id
          where p.kind in ('refund', 'dispute') and c.claim_id is null
          limit 100",
    ),
    (
        "receivable_is_what_claims_owe",
        "select 'balance ' || b.account_id, 'receivable is ' || b.receivable_nanos || ', its claims owe ' || coalesce(sum(c.owed_nanos), 0)
           from balance b left join claim c on c.account_id = b.account_id
          group by b.account_id, b.receivable_nanos
         having b.receivable_nanos <> -coalesce(sum(c.owed_nanos), 0)
          limit 100",
    ),
    (
        "who_owes_is_frozen",
        "select 'balance ' || b.account_id, 'owes ' || -b.receivable_nanos || ' and is not frozen'
           from balance b join account a on a.account_id = b.account_id
          where b.receivable_nanos < 0 and a.frozen_at is null
          limit 100",
    ),
    (
        "claims_take_no_more_than_was_bought",
        "select 'purchase ' || u.purchase_id, 'its claims take more than it gave'
           from purchase u join claim c on c.purchase_id = u.purchase_id
          group by u.purchase_id, u.amount_nanos, u.bonus_nanos
         having sum(c.credit_nanos) > u.amount_nanos or sum(c.bonus_nanos) > u.bonus_nanos
          limit 100",
    ),
    (
        "refund_took_its_credit",
        "select 'refund ' || r.refund_id, 'is ' || r.state || ', and its claim took ' || coalesce(c.credit_nanos, 0)
           from refund r left join claim c on c.claim_id = r.refund_id
          where coalesce(c.credit_nanos, 0) <> case when r.state = 'failed' then 0 else r.credit_nanos end
             or coalesce(c.bonus_nanos, 0) <> case when r.state = 'failed' then 0 else r.bonus_nanos end
             or coalesce(c.cash_nanos, 0) <> case when r.state = 'failed' then 0 else r.cash_cents * 10000000 end
          limit 100",
    ),
    (
        "dispute_took_its_credit",
        "select 'dispute ' || d.stripe_dispute_id, 'is ' || d.state || ', and its claim is of ' || coalesce(c.cash_nanos, 0)
           from dispute d left join claim c on c.claim_id = d.stripe_dispute_id
          where d.purchase_id is not null
            and coalesce(c.cash_nanos, 0)
                <> case when d.state in ('needs_response', 'under_review', 'lost') then d.amount_cents * 10000000 else 0 end
          limit 100",
    ),
];
