//! What must hold of the tables after whatever happened. Written against the contract, not against the extension's own
//! `verify_books`, so that both would have to be wrong in the same way.

use crate::session::Session;

/// Each rule: what it says, and a query that finds what breaks it (one text column).
const RULES: &[(&str, &str)] = &[
    (
        "a balance is the sum of the card's movements",
        "select c.card_no || ': ' || c.balance || ', movements ' || coalesce(sum(m.change), 0)
         from cards c left join movements m on m.card_id = c.id group by c.card_no, c.balance
         having c.balance <> coalesce(sum(m.change), 0)",
    ),
    (
        "no gap in any card's sequence",
        "select card_no || ': ' || tx_no || ' is ' || card_seq || ', expected ' || nth
         from (select m.*, row_number() over (partition by card_id order by card_seq) nth from movements m) x where card_seq <> nth",
    ),
    (
        "every balance_after is the one before plus the movement",
        "select card_no || ': ' || tx_no || ' has ' || balance_after || ', expected ' || running
         from (select m.*, sum(change) over (partition by card_id order by card_seq) running from movements m) x
         where balance_after is distinct from running",
    ),
    (
        "prev_tx_id is the movement before",
        "select card_no || ': ' || tx_no from (select m.*, lag(id) over (partition by card_id order by card_seq) before from movements m) x
         where prev_tx_id is distinct from before",
    ),
    (
        "skip_tx_id is the movement 64 before, on every 64th and nowhere else",
        "select card_no || ': ' || tx_no from (select m.*, lag(id, 64) over (partition by card_id order by card_seq) far from movements m) x
         where skip_tx_id is distinct from case when card_seq % 64 = 0 then far end",
    ),
    (
        "posted_at is later than that of the movement before, and not before created_at",
        "select card_no || ': ' || tx_no from (select m.*, lag(posted_at) over (partition by card_id order by card_seq) before from movements m) x
         where posted_at is null or posted_at <= before or posted_at < created_at",
    ),
    (
        "a card knows its last movement",
        "select c.card_no from cards c left join lateral
            (select m.id, m.card_seq, m.posted_at from movements m where m.card_id = c.id order by m.card_seq desc limit 1) l on true
         where (c.last_tx_id, c.card_seq, c.last_posted_at) is distinct from (l.id, coalesce(l.card_seq, 0), l.posted_at)",
    ),
    (
        "what is completed stands on its card, and so does what was cancelled of it, which moved nothing",
        "select tx_no from app.transactions
         where (status = 'completed' or (status = 'cancelled' and tx_type = 'payment' and final_amount = 0)) <> (card_seq is not null and posted_at is not null and balance_after is not null)",
    ),
    (
        "the number of a transaction says what and when it is",
        "select tx_no from app.transactions t
         where tx_no !~ ((case tx_type when 'payment' then '^ZF' when 'refund' then '^TK' when 'recharge' then '^CZ'
                             when 'withdrawal' then '^TX' else '^TZ' end)
            || to_char(created_at at time zone 'UTC', 'YYMM') || '[0-9]{6,}$')",
    ),
    ("no number twice", "select tx_no from app.transactions group by tx_no having count(*) > 1"),
    (
        "what was paid is what takes part times the discount, rounded half away from zero, less the coupon, and the rest in full",
        "select tx_no || ': ' || final_amount from app.transactions,
            lateral (select coalesce(excluded_amount, 0) as rest, coalesce(coupon_discount, 0) as less) x
         where tx_type = 'payment' and final_amount + less - rest <> round((raw_amount - rest) * discount, 2)",
    ),
    (
        "points are the sum of the ledger, without gaps",
        "select c.card_no || ': ' || c.points || ', ledger ' || coalesce(sum(l.change), 0) from app.personal_cards c
         left join app.point_ledger l on l.card_id = c.id group by c.card_no, c.points, c.point_seq
         having c.points <> coalesce(sum(l.change), 0) or c.point_seq <> count(l.point_seq) or c.point_seq <> coalesce(max(l.point_seq), 0)",
    ),
    (
        "the ledger's running points",
        "select card_id || ' ' || point_seq from (select l.*, sum(change) over (partition by card_id order by point_seq) running from app.point_ledger l) x
         where balance_after <> running",
    ),
    (
        "level and discount are those of the points",
        "select c.card_no from app.personal_cards c, lateral
            (select l.level, l.discount from app.membership_levels l
             order by l.min_points <= c.points desc, case when l.min_points <= c.points then -l.min_points else l.min_points end limit 1) l
         where (c.level, c.discount) <> (l.level, l.discount)",
    ),
    (
        "the ledger has the points of every payment and refund",
        "select t.tx_no from app.transactions t left join app.point_ledger l on l.tx_no = t.tx_no
         where t.tx_type in ('payment', 'refund') group by t.tx_no, t.points_earned having t.points_earned <> coalesce(sum(l.change), 0)",
    ),
    (
        "refunds never pass what was paid, and the payment knows their sum",
        "select p.tx_no || ': ' || p.refunded_amount || ' of ' || p.final_amount from app.transactions p
         left join app.transactions r on r.tx_type = 'refund' and r.original_tx_no = p.tx_no
         where p.tx_type = 'payment' group by p.tx_no, p.refunded_amount, p.final_amount
         having p.refunded_amount <> coalesce(sum(r.final_amount), 0) or p.refunded_amount > p.final_amount",
    ),
    (
        "refunds take back points in proportion, and all of them at the last cent",
        "select p.tx_no from app.transactions p left join app.transactions r on r.tx_type = 'refund' and r.original_tx_no = p.tx_no
         where p.tx_type = 'payment' group by p.tx_no, p.points_earned, p.refunded_amount, p.final_amount
         having abs(p.points_earned * p.refunded_amount / nullif(p.final_amount, 0) + coalesce(sum(r.points_earned), 0)) >= 1
             or (p.refunded_amount = p.final_amount and p.points_earned <> -coalesce(sum(r.points_earned), 0))",
    ),
    (
        "campaigns gave the points beside those that a payment earns anyway, and each of them says which",
        "select p.tx_no || ': ' || p.points_earned from app.transactions p
         left join lateral (select sum(k.value::bigint) as points, count(t.version) as known, count(*) as named,
                                   1 + coalesce(sum(t.value - 1) filter (where t.kind = 'points_multiplier'), 0) as times,
                                   coalesce(sum(t.value) filter (where t.kind = 'points_bonus'), 0) as more
                            from jsonb_each_text(p.campaigns) k
                            left join app.campaign_terms t on (t.campaign_id || '.' || t.version) = k.key) u on true
         where num_nonnulls(p.points_base, p.points_bonus, p.campaigns) > 0
           and (num_nonnulls(p.points_base, p.points_bonus, p.campaigns) < 3 or p.points_earned <> p.points_base + p.points_bonus
                or u.points <> p.points_bonus or u.known <> u.named or u.named = 0 or p.card_type <> 'personal'
                or (p.points_earned - u.more) / u.times not between p.points_base - 1 and p.points_base + 1)",
    ),
    (
        "a payment of 0.00 is cancelled by one refund of 0.00, and nothing else is",
        "select p.tx_no from app.transactions p left join app.transactions r on r.tx_type = 'refund' and r.original_tx_no = p.tx_no
         where p.tx_type = 'payment' group by p.tx_no, p.status, p.final_amount
         having case when p.final_amount = 0 then count(r.id) <> (p.status = 'cancelled')::integer or sum(r.final_amount) <> 0
                     else p.status <> 'completed' or bool_or(r.final_amount = 0) end",
    ),
    (
        "a coupon takes off what its terms say",
        "select p.tx_no || ': ' || p.coupon_discount from app.transactions p
         left join app.member_coupons m on m.id = p.member_coupon_id
         left join app.coupon_terms t on (t.coupon_id, t.version) = (m.coupon_id, m.terms_version),
            lateral (select round((p.raw_amount - coalesce(p.excluded_amount, 0)) * p.discount, 2) as price) x,
            lateral (select case t.kind when 'amount_off' then least(t.value, x.price) when 'fixed_price' then x.price - least(t.value, x.price)
                                        else x.price - (x.price * 100 - x.price * t.value)::numeric(20, 4) / 100 end as off) y
         where p.member_coupon_id is not null
           and (abs(p.coupon_discount - least(y.off, t.max_discount)) > 0.005 or p.coupon_discount is null or t.kind is null
                or (p.discount <> 1 and not t.goes_with_level_discount) or p.coupon_discount <= 0)",
    ),
    (
        "a coupon is used by one payment that was not given back, and knows it",
        "select coalesce(m.id, p.member_coupon_id) || ' ' || coalesce(m.status, '-') from app.member_coupons m
         full join (select * from living where member_coupon_id is not null) p
             on p.member_coupon_id = m.id
         where m.id is null or m.member_id <> p.member_id or (p.tx_no is not null and (m.status, m.tx_no) is distinct from ('used', p.tx_no))
         union all select member_coupon_id || ' twice' from living where member_coupon_id is not null group by 1 having count(*) > 1",
    ),
    (
        "of a budget is left what payments that were not given back did not take",
        "select c.code || ': ' || sum(b.left_amount) from app.coupons c join app.coupon_budget_parts b on b.coupon_id = c.id
         group by c.id, c.code, c.budget_amount
         having sum(b.left_amount) <> c.budget_amount - (select coalesce(sum(p.coupon_discount), 0) from living p
             join app.member_coupons m on m.id = p.member_coupon_id where m.coupon_id = c.id)",
    ),
    (
        "every movement was audited, once",
        "select m.tx_no from movements m left join audit.event_log e
            on e.object_type = 'transaction' and e.object_id = m.tx_no and e.action = m.tx_type::text
         group by m.tx_no having count(e.id) <> 1",
    ),
    (
        "every recharge that waits was audited",
        "select t.tx_no from app.transactions t where t.status = 'processing' and not exists
            (select from audit.event_log e where e.object_id = t.tx_no and e.action = 'recharge.requested')",
    ),
    (
        "a transaction's key leads to it, and every key leads somewhere",
        "select 'no key: ' || t.tx_no from app.transactions t where t.idempotency_key is not null and not exists
            (select from app.idempotency_keys k where k.ref_id = t.id and k.idempotency_key = t.idempotency_key)
         union all
         select 'dangling: ' || k.idempotency_key from app.idempotency_keys k
         where k.operation not in (13, 31, 32) and not exists (select from app.transactions t where t.id = k.ref_id)",
    ),
    (
        "a transaction's order leads to it, and every order leads somewhere",
        "select 'no order: ' || t.tx_no from app.transactions t where t.external_order_id is not null and not exists
            (select from app.external_orders o where o.tx_id = t.id and o.order_id = t.external_order_id)
            and not (t.tx_type = 'recharge' and exists
                (select from app.external_orders o join app.transactions n on n.id = o.tx_id and n.tx_type = 'recharge' and n.card_type = t.card_type
                 where o.order_id = t.external_order_id and n.id > t.id and n.member_id is not distinct from t.member_id))
         union all
         select 'dangling: ' || o.order_id from app.external_orders o where not exists (select from app.transactions t where t.id = o.tx_id)
            and not exists (select from app.suspense_payments s where s.id = -o.tx_id and s.gateway_trade_no = o.order_id)",
    ),
    (
        "a gateway trade number credited once",
        "select gateway_trade_no from app.transactions where gateway_trade_no is not null group by gateway_trade_no having count(*) > 1
         union all
         select s.gateway_trade_no from app.suspense_payments s left join app.transactions t on t.gateway_trade_no = s.gateway_trade_no
         where (s.status = 'credited') <> (t.id is not null) or t.final_amount <> s.amount or t.tx_no <> s.credited_tx_no",
    ),
    (
        "a callback credited what it says, and each payment once",
        "select e.id || ': ' || e.trade_no from app.gateway_events e
         left join app.transactions t on t.tx_no = e.tx_no and t.gateway_trade_no = e.trade_no and t.final_amount = e.amount
         where e.outcome = 'credited' and (t.status is distinct from 'completed' or not e.verified)
         union all
         select trade_no from app.gateway_events where outcome = 'credited' group by trade_no having count(*) > 1
         union all
         select e.id || ': ' || e.trade_no from app.gateway_events e left join app.suspense_payments s on s.gateway_trade_no = e.trade_no
         left join lateral (select (l.context ->> 'amount')::numeric as amount from audit.event_log l
                            where l.action = 'suspense.reduced' and l.object_id = s.id::text order by l.id desc limit 1) l on true
         where e.outcome = 'suspense' and s.amount is distinct from coalesce(l.amount, e.amount)
            -- Of what went back in part before it was told of, what is left is kept.
            and (e.reason <> 'partly_refunded' or l.amount is not null or s.amount > e.amount)",
    ),
    (
        "what waits is counted",
        "select coalesce(r.tx_id, t.id)::text from app.pending_recharges r full join
            (select id, card_id from app.transactions where status = 'processing') t on t.id = r.tx_id and t.card_id = r.card_id
         where t.id is null or r.tx_id is null",
    ),
    (
        "compensations are adjustments of the same amount",
        "select k.compensation_tx_no from app.transaction_compensations k left join app.transactions t on t.tx_no = k.compensation_tx_no
         where t.tx_type is distinct from 'adjustment' or t.final_amount <> k.amount or t.original_tx_no <> k.tx_no",
    ),
    (
        "a member has one open card",
        "select member_id::text from app.personal_cards where status <> 'closed' group by member_id having count(*) > 1",
    ),
    (
        "a closed card holds nothing",
        "select card_no from cards where status = 'closed' and balance <> 0 and not exists (
            select from app.transactions t where t.card_id = cards.id
                and (t.tx_type = 'recharge' and t.gateway_trade_no is not null or t.tx_type = 'adjustment' and t.original_tx_no like 'TX%'))",
    ),
    (
        "a withdrawal's refund numbers are for what it took, of its card",
        "select coalesce(t.tx_no, w.tx_no) from (select * from app.transactions where tx_type = 'withdrawal') t
         full join (select tx_no, sum(amount) as total, count(distinct card_id) as cards, min(card_id::text) as card,
                           string_agg(refund_no, ' ' order by length(refund_no), refund_no) as numbers, count(*) as n
                    from app.withdrawals group by tx_no) w on w.tx_no = t.tx_no
         where (t.final_amount = w.total and w.cards = 1 and t.card_id::text = w.card and w.numbers
                = (select string_agg(w.tx_no || '-' || i, ' ' order by i) from generate_series(1, w.n) i)) is not true",
    ),
    (
        "no recharge gives back more than it brought",
        "select w.source_tx_no || ': ' || sum(w.amount) from app.withdrawals w left join app.transactions t on t.tx_no = w.source_tx_no
         where w.source_tx_no is not null and w.status in ('processing', 'completed')
         group by w.source_tx_no, t.tx_type, t.status, t.final_amount
         having (sum(w.amount) <= t.final_amount and t.tx_type = 'recharge' and t.status = 'completed') is not true",
    ),
    (
        "what a withdrawal gives back comes back once",
        "select coalesce(w.refund_no, t.tx_no) from (select * from app.withdrawals where status in ('returned', 'paid_after_return')) w
         full join (select k.* from app.transaction_compensations k
                    where k.tx_no like 'TX%' and exists (select from app.withdrawals x where x.returned_tx_no = k.compensation_tx_no)) k
             on k.compensation_tx_no = w.returned_tx_no
         left join app.transactions t on t.tx_no = w.returned_tx_no
         where (t.tx_type = 'adjustment' and t.final_amount = w.amount and t.original_tx_no = w.tx_no and k.amount = w.amount
                ) is not true",
    ),
    (
        "a coupon counts what members have got of it, each in the log",
        "select c.code from app.coupons c
         where c.issued <> (select count(*) from app.member_coupons m where m.coupon_id = c.id)
            or c.issued <> coalesce((select sum(jsonb_array_length(e.context -> 'ids')) from audit.event_log e
                                     where e.object_id = c.code and e.action in ('coupon.issued', 'coupon.claimed')), 0)
            or c.terms_version <> (select max(t.version) from app.coupon_terms t where t.coupon_id = c.id)
         union all
         select m.id::text from app.member_coupons m where (m.status = 'used') <> (m.tx_no is not null) or not exists
            (select from app.coupons c join app.coupon_terms t on t.coupon_id = c.id where c.id = m.coupon_id and t.version = m.terms_version)",
    ),
    (
        "a coupon's key leads to what was issued, and a budget has sixteen parts",
        "select k.idempotency_key from app.idempotency_keys k where k.operation in (31, 32) and not exists
            (select from app.member_coupons m where m.id = k.ref_id % 100000000000 and m.issued_with = m.id)
         union all
         select c.code from app.coupons c where (select count(*) from app.coupon_budget_parts p where p.coupon_id = c.id)
            <> case when c.budget_amount is null then 0 else 16 end",
    ),
];

/// What every rule may read from.
const WITH: &str = "with cards as (
        select id, card_no, balance, card_seq, last_tx_id, last_posted_at, status from app.personal_cards
        union all select id, card_no, balance, card_seq, last_tx_id, last_posted_at, status from app.enterprise_cards),
    movements as (
        select t.*, case when t.tx_type in ('payment', 'withdrawal') then -t.final_amount else t.final_amount end as change, c.card_no
        from app.transactions t left join cards c on c.id = t.card_id
        where t.status = 'completed' or (t.status = 'cancelled' and t.tx_type = 'payment')),
    living as (
        select p.* from app.transactions p where p.tx_type = 'payment' and (p.refunded_amount < p.final_amount or (p.final_amount = 0
            and not exists (select from app.transactions r where r.tx_type = 'refund' and r.original_tx_no = p.tx_no)))) ";

/// What is wrong, in words; empty where the books hold.
pub fn problems(superuser: &Session) -> Vec<String> {
    let broken = RULES.iter().flat_map(|(rule, sql)| {
        superuser.column(&format!("{WITH}{sql}")).into_iter().map(move |what| format!("{rule}: {what}"))
    });
    broken.collect()
}
