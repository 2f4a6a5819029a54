//! The shop's days: what they are, that they divide time, and that their totals tie.

use mps_tests::{Clock, SHOP, Shop, Till, Waiting, q};

/// Zones with summer time on both its turns; those where midnight does not exist; one that left out a whole day; one that moves
/// its clocks by half an hour.
const ZONES: &[&str] = &[
    "UTC",
    "Asia/Shanghai",
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Africa/Cairo",
    "Pacific/Apia",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
];

/// Has every day, past and future, be by one rule.
fn always(shop: &Shop, zone: &str, starts_at: &str) {
    shop.superuser.run(&format!(
        "delete from app.business_day_rules; \
         insert into app.business_day_rules values ('-infinity', '-infinity', {}, {})",
        q(zone),
        q(starts_at)
    ));
}

#[test]
fn days_divide_time_in_every_zone() {
    let shop = Shop::open();
    for zone in ZONES {
        for starts_at in ["00:00", "00:30", "02:30", "04:00", "23:59"] {
            always(&shop, zone, starts_at);
            let odd = shop.superuser.column(
                "with days as (
                     select d::date as day, app.business_day_start(d::date) as starts, app.business_day_start(d::date + 1) as ends
                     from generate_series(date '2009-12-01', date '2031-02-01', interval '1 day') d)
                 select day from days where ends < starts
                 union all
                 select day from days where starts < ends and (app.business_day(starts) <> day
                     or app.business_day(ends - interval '1 microsecond') <> day or app.business_day(starts + (ends - starts) / 2) <> day)
                 union all
                 select day from days d where starts = ends and not (day = '2011-12-30' and (select time_zone from app.business_day_rules) = 'Pacific/Apia')
                 union all
                 -- By the clocks of the shop a day begins when it should, or where that does not exist, within an hour of it.
                 select day from days, app.business_day_rules r
                 where starts < ends and abs(extract(epoch from (starts at time zone r.time_zone) - (day + r.starts_at))) > 3600",
            );
            assert_eq!(odd, [] as [String; 0], "{zone} at {starts_at}");
        }
    }
}

#[test]
fn days_have_23_and_25_hours_on_the_turns_of_summer_time() {
    let shop = Shop::open();
    // Begin and end in UTC, from the tables of the zones.
    let days = [
        ("Asia/Shanghai", "00:00", "2026-11-25", "2026-11-24 16:00", "2026-11-25 16:00"),
        ("Asia/Shanghai", "04:00", "2026-11-25", "2026-11-24 20:00", "2026-11-25 20:00"),
        ("Europe/Berlin", "00:00", "2026-03-29", "2026-03-28 23:00", "2026-03-29 22:00"),
        ("Europe/Berlin", "00:00", "2026-10-25", "2026-10-24 22:00", "2026-10-25 23:00"),
        // 02:30 does not exist in spring, and exists twice in autumn: the second one counts.
        ("Europe/Berlin", "02:30", "2026-03-29", "2026-03-29 01:30", "2026-03-30 00:30"),
        ("Europe/Berlin", "02:30", "2026-10-25", "2026-10-25 01:30", "2026-10-26 01:30"),
        ("America/New_York", "00:00", "2026-03-08", "2026-03-08 05:00", "2026-03-09 04:00"),
        ("America/New_York", "00:00", "2026-11-01", "2026-11-01 04:00", "2026-11-02 05:00"),
        ("America/New_York", "04:00", "2026-03-08", "2026-03-08 08:00", "2026-03-09 08:00"),
        ("America/New_York", "04:00", "2026-03-07", "2026-03-07 09:00", "2026-03-08 08:00"),
        // Midnight itself is left out.
        ("America/Santiago", "00:00", "2025-09-07", "2025-09-07 04:00", "2025-09-08 03:00"),
        ("Africa/Cairo", "00:00", "2025-04-25", "2025-04-24 22:00", "2025-04-25 21:00"),
        // 23:00 to 24:00 comes twice, and the day before goes on.
        ("America/Santiago", "00:00", "2025-04-05", "2025-04-05 03:00", "2025-04-06 04:00"),
    ];
    for (zone, starts_at, day, begins, ends) in days {
        always(&shop, zone, starts_at);
        for session_zone in ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"] {
            let (last, found) = (
                shop.superuser.value(&format!(
                    "set timezone = '{session_zone}'; select app.business_day(timestamptz '{ends}+00' - interval '1 microsecond')"
                )),
                shop.superuser.value(&format!(
                    "select (app.business_day_start('{day}') = '{begins}+00', app.business_day_start(date '{day}' + 1) = '{ends}+00', \
                             app.business_day('{begins}+00'))"
                )),
            );
            assert_eq!(
                (found, last),
                (format!("(t,t,{day})"), day.into()),
                "{zone} {starts_at} {day} under {session_zone}"
            );
        }
    }
}

#[test]
fn a_time_zone_is_a_name_and_a_day_begins_at_a_whole_minute() {
    let shop = Shop::open();
    let before = shop.backend.value("select app.get_settings()");
    for zone in [
        "CST",
        "EST",
        "CET",
        "GMT",
        "UTC+8",
        "CST-8",
        "EST5EDT",
        "<+08>-8",
        "+08",
        "8",
        "",
        " ",
        "posix/Asia/Shanghai",
        "right/Asia/Shanghai",
        "localtime",
        "Asia/Nowhere",
        "asia/shanghai",
    ] {
        let given = serde_json::json!({ "business_time_zone": zone }).to_string();
        let failure = shop.backend.refused("INVALID_ARGUMENT", &format!("select app.update_settings({})", q(&given)));
        assert!(
            failure.detail.contains("business_time_zone") && failure.detail.contains("Asia/Shanghai"),
            "{failure:?}"
        );
    }
    for time in [
        r#""24:00""#,
        r#""4:00""#,
        r#""04:00:30""#,
        r#""04:00+08""#,
        r#""04""#,
        "4",
        "null",
        r#""-1:00""#,
        r#""04:60""#,
        r#""０4:00""#,
    ] {
        let given = format!(r#"{{"business_day_starts_at": {time}}}"#);
        let failure = shop.backend.refused("INVALID_ARGUMENT", &format!("select app.update_settings({})", q(&given)));
        assert!(failure.detail.contains("business_day_starts_at"), "{failure:?}");
    }
    shop.backend.refused("INVALID_ARGUMENT", r#"select app.update_settings('{"business_time_zone": null}')"#);
    assert_eq!(shop.backend.value("select app.get_settings()"), before);
    for zone in ["Asia/Shanghai", "America/Argentina/Buenos_Aires", "Etc/GMT+8", "PRC", "UTC"] {
        shop.backend.run(&format!(r#"select app.update_settings('{{"business_time_zone": "{zone}"}}')"#));
    }
    // What is shown is taken.
    shop.backend.run(r#"select app.update_settings('{"business_day_starts_at": "04:00"}')"#);
    shop.backend.run("select app.update_settings(app.get_settings())");
    assert_eq!(shop.backend.value("select app.get_settings() ->> 'business_day_starts_at'"), "04:00:00");
}

#[test]
fn a_change_counts_from_the_next_day_and_what_has_been_stays() {
    let shop = Shop::open();
    let days = "select string_agg(app.business_day(now() - n * interval '37 minutes')::text, ' ' order by n) from \
        generate_series(0, 200) n";
    // One transaction has one clock.
    shop.superuser.run("begin");
    let mut before = shop.superuser.value(days);
    let settings = [
        ("Asia/Shanghai", "04:00"),
        ("America/New_York", "04:00"),
        ("America/New_York", "23:59"),
        ("Pacific/Kiritimati", "00:00"),
        ("Etc/GMT+12", "23:30"),
        ("UTC", "00:00"),
    ];
    for (zone, starts_at) in settings {
        shop.superuser.run(&format!(
            r#"select app.update_settings('{{"business_time_zone": "{zone}", "business_day_starts_at": "{starts_at}"}}')"#
        ));
        let after = shop.superuser.value(days);
        assert_eq!(before, after, "{zone} {starts_at}");
        before = after;
        let rule = shop.superuser.row(
            "select time_zone, starts_at, from_at > now() or from_at = '-infinity' as later, from_at <= now() + interval '4 days' as soon \
             from app.business_day_rules order by from_at desc limit 1",
        );
        assert_eq!(rule.values(), [zone, &format!("{starts_at}:00"), "t", "t"]);
        let whole = "select count(*) from (select app.business_day(m) d, lag(app.business_day(m)) over (order by m) b from \
             generate_series(now() - interval '2 days', now() + interval '8 days', interval '11 minutes') m) x where d < b";
        assert_eq!(shop.superuser.value(whole), "0", "{zone} {starts_at}: days go forward");
    }
    // By SQL it is the same.
    shop.superuser.run("update app.settings set business_time_zone = 'Asia/Tokyo'");
    assert_eq!(
        shop.superuser.value("select time_zone from app.business_day_rules order by from_at desc limit 1"),
        "Asia/Tokyo"
    );
    shop.superuser.run("rollback");
    assert_eq!(shop.superuser.value("select count(*) from app.business_day_rules"), "1");
}

/// For each business day that has anything: what the lines of a merchant's statement add up to, and what v_reconciliation and
/// app.day_totals() say. Payments, refunds, recharges, adjustments.
fn tie(session: &mps_tests::Session) -> Vec<String> {
    let totals =
        "sum(payment_total) || ' ' || sum(refund_total) || ' ' || sum(recharge_total) || ' ' || sum(adjustment_total)";
    let view = session.column(&format!(
        "select day || ' ' || {totals} from app.v_reconciliation where merchant_code = \
        '{SHOP}' group by day order by day"
    ));
    let mut lines = Vec::new();
    for line in &view {
        let day = &line[..10];
        lines.push(session.value(&format!(
            "select '{day} ' || coalesce(sum(final_amount) filter (where tx_type = 'payment'), 0.00) || ' ' \
                 || coalesce(sum(final_amount) filter (where tx_type = 'refund'), 0.00) || ' ' \
                 || coalesce(sum(final_amount) filter (where tx_type = 'recharge'), 0.00) || ' ' \
                 || coalesce(sum(final_amount) filter (where tx_type = 'adjustment'), 0.00) \
             from app.merchant_statement('{SHOP}', p_limit => 500, p_day => '{day}') where status = 'completed' and business_day = '{day}'"
        )));
        let of_day = format!("select '{day} ' || {totals} from app.day_totals('{day}') where merchant_code = '{SHOP}'");
        assert_eq!(&session.value(&of_day), line, "app.day_totals");
        let by_range = format!(
            "select count(*) = (select count(*) from app.merchant_statement('{SHOP}', p_limit => 500, p_day => '{day}')) \
             from app.merchant_statement('{SHOP}', app.business_day_start('{day}'), app.business_day_start(date '{day}' + 1), p_limit => 500)"
        );
        assert_eq!(session.value(&by_range), "t", "{day} as a range");
    }
    assert_eq!(lines, view);
    let rows = "select * from app.v_reconciliation order by 1, 2, 3";
    let all = session.rows(rows);
    let days = session.row("select min(day) a, max(day) b from app.v_reconciliation");
    assert_eq!(session.rows(&format!("select * from app.day_totals('{}', '{}')", &days["a"], &days["b"])), all);
    view
}

/// A shop under a clock of its own, in a database with the extension.
fn till_at(moment: &str) -> (Clock, Till) {
    let clock = Clock::start_at(moment);
    let session = clock.cluster.superuser("postgres");
    session.run("create extension mps");
    let till = Till::open(session);
    (clock, till)
}

#[test]
fn totals_tie_for_a_charge_that_waits_over_midnight_and_a_recharge_confirmed_later() {
    // Ten seconds before midnight in Shanghai, on the last day of a month there.
    let (clock, till) = till_at("2026-11-30 02:00:00Z");
    till.session.run(r#"select app.update_settings('{"business_time_zone": "Asia/Shanghai"}')"#);
    let ming = till.member("1000.00");
    clock.set("2026-11-30 15:59:50Z");
    till.charge(&ming.card, "1.00");
    // Held up by somebody who has the card, until it is tomorrow, there.
    let charge_over = |from: &str, to: &str, amount: &str| {
        clock.set(from);
        let code =
            till.session.row(&format!("select * from app.rotate_card_qr('{}')", ming.card))["qr_plain"].to_owned();
        let (holder, waiting) = (clock.cluster.superuser("postgres"), clock.cluster.superuser("postgres"));
        holder.run(&format!("begin; select from app.personal_cards where id = '{}' for update", ming.card));
        let charge = format!("select * from app.merchant_charge_by_qr('{SHOP}', {}, {amount})", q(code));
        let waiting = Waiting::start(waiting, &till.session, charge);
        clock.set(to);
        holder.run("rollback");
        waiting.end().expect("the charge goes on");
    };
    charge_over("2026-11-30 15:59:58Z", "2026-11-30 16:00:02Z", "10.00");
    let row = till.session.row(&format!(
        "select created_at < app.business_day_start('2026-12-01') as asked_before, posted_at >= app.business_day_start('2026-12-01') as posted_after, \
                business_day from app.merchant_statement('{SHOP}', p_limit => 1)"
    ));
    assert_eq!(row.values(), ["t", "t", "2026-12-01"]);
    assert_eq!(tie(&till.session), ["2026-11-30 1.00 0.00 0.00 0.00", "2026-12-01 10.00 0.00 0.00 0.00"]);

    // Over the turn of the month in UTC, which is where it lies.
    charge_over("2026-11-30 23:59:58Z", "2026-12-01 00:00:02Z", "100.00");
    assert_eq!(till.session.value("select count(*) from app.late_postings"), "1");
    assert_eq!(tie(&till.session)[1], "2026-12-01 110.00 0.00 0.00 0.00");

    // A recharge at the merchant, asked for now and confirmed in another month: only a superuser can make one of the merchant's.
    let asked = till.session.row(&format!(
        "select * from app.user_recharge_personal_card('{}', 50, 'cash', p_merchant_code => '{SHOP}')",
        ming.card
    ));
    assert_eq!(&asked["status"], "completed");
    till.session.run(&format!("set request.jwt.claims = '{{\"sub\": \"{}\", \"role\": \"authenticated\"}}'", ming.id));
    till.session.run("create role phone; select sec.grant_api('phone', 'client'); set role phone");
    let waits = till
        .session
        .row(&format!("select * from app.user_recharge_personal_card('{}', 25, 'wechat')", ming.card))["tx_no"]
        .to_owned();
    till.session.run("reset role; reset request.jwt.claims");
    till.session.run(&format!(
        "update app.transactions set merchant_id = (select id from app.merchants) where tx_no = '{waits}'"
    ));
    let line = |column: &str| {
        till.session.value(&format!(
            "select {column} from app.merchant_statement('{SHOP}', p_limit => 500) where tx_no = '{waits}'"
        ))
    };
    assert_eq!((line("status"), line("business_day")), ("processing".into(), "2026-12-01".into()));
    clock.set("2027-03-05 18:00:00Z");
    till.session.run("call app.maintain_partitions()");
    till.session.run(&format!("select app.confirm_recharge('{waits}', 25, 'G-1')"));
    assert_eq!((line("status"), line("business_day")), ("completed".into(), "2027-03-06".into()));
    assert_eq!(
        tie(&till.session),
        ["2026-11-30 1.00 0.00 0.00 0.00", "2026-12-01 110.00 0.00 50.00 0.00", "2027-03-06 0.00 0.00 25.00 0.00",]
    );
    // A page at a time it is the same order, each once.
    let all = till.session.column(&format!("select tx_no from app.merchant_statement('{SHOP}', p_limit => 500)"));
    assert_eq!((all.len(), &all[0]), (5, &waits));
    let mut seen: Vec<String> = Vec::new();
    loop {
        let before = seen.last().map_or("null".into(), q);
        let page = till
            .session
            .column(&format!("select tx_no from app.merchant_statement('{SHOP}', p_before => {before}, p_limit => 1)"));
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen, all);
    till.session.run("call audit.seal()");
    assert_eq!(till.findings(), [] as [String; 0]);
    // What is not noted would not be shown, and the books say so.
    till.session.run(&format!(
        "delete from app.late_postings where tx_id = (select id from app.transactions where tx_no = '{waits}')"
    ));
    let findings = till.findings();
    assert!(findings.len() == 1 && findings[0].starts_with(&format!("late_postings: {waits}")), "{findings:?}");
}

#[test]
fn the_days_of_a_shop_that_moves_its_day_over_summer_time() {
    let (clock, till) = till_at("2026-10-24 10:00:00Z");
    let ming = till.member("1000.00");
    till.session.run(
        r#"select app.update_settings('{"business_time_zone": "Europe/Berlin", "business_day_starts_at": "04:00"}')"#,
    );
    let mut expected = Vec::new();
    // 24th: UTC's day, from midnight until 04:00 of the 25th in Berlin, 02:00 UTC + 1 h, because clocks go back at 01:00 UTC.
    for (moment, day) in [
        ("2026-10-24 23:30:00Z", "2026-10-24"),
        ("2026-10-25 02:59:00Z", "2026-10-24"),
        ("2026-10-25 03:00:01Z", "2026-10-25"),
        ("2026-10-26 02:59:00Z", "2026-10-25"),
        ("2026-10-26 03:00:01Z", "2026-10-26"),
    ] {
        clock.set(moment);
        till.charge(&ming.card, "1.00");
        expected.push(day.to_owned());
    }
    let days =
        till.session.column(&format!("select business_day from app.merchant_statement('{SHOP}') order by posted_at"));
    assert_eq!(days, expected);
    assert_eq!(tie(&till.session).len(), 3);
    // Of a year's days only those of the turns have other than 24 hours.
    assert_eq!(
        till.session.column(
            "select day || ' ' || hours from (select d::date as day, extract(epoch from app.business_day_start(d::date + 1) \
                 - app.business_day_start(d::date)) / 3600 as hours from generate_series(date '2026-10-25', date '2027-10-31', '1 day') d) x \
             where hours <> 24"
        ),
        ["2027-03-27 23.0000000000000000", "2027-10-30 25.0000000000000000"]
    );
}

#[test]
fn a_statement_shows_every_row_whatever_the_clocks_said() {
    // The server that failed was two months ahead.
    let (clock, till) = till_at("2027-01-20 12:00:00Z");
    let ming = till.member("1000.00");
    let ahead = till.charge(&ming.card, "1.00")["tx_no"].to_owned();
    clock.set("2026-11-20 12:00:00Z");
    till.session.run("call app.maintain_partitions()");
    let now = till.charge(&ming.card, "2.00")["tx_no"].to_owned();
    // Posted after the card's last movement, by its own order, but asked for by today's clock.
    let shown = |more: &str| till.session.column(&format!("select tx_no from app.merchant_statement('{SHOP}'{more})"));
    assert_eq!(shown(""), [now.as_str(), ahead.as_str()]);
    till.session.run("update app.merchants set created_at = '2027-06-01'");
    assert_eq!(shown(""), [now.as_str(), ahead.as_str()]);
    assert_eq!(shown(&format!(", p_before => '{now}'")), [ahead.as_str()]);
    assert_eq!(shown(", p_from => '2027-01-01'"), [now.as_str(), ahead.as_str()]);
    let mei = till.member("10.00");
    let other = till.charge(&mei.card, "3.00")["tx_no"].to_owned();
    assert_eq!(shown(""), [now.as_str(), ahead.as_str(), other.as_str()]);
    assert_eq!(tie(&till.session).len(), 2);
    till.session.run("call audit.seal()");
    assert_eq!(till.findings(), [] as [String; 0]);
}

#[test]
fn parallel_workers_tell_the_days_as_well() {
    let shop = Shop::open();
    always(&shop, "Asia/Shanghai", "04:00");
    let ming = shop.member("1000.00");
    for _ in 0..3 {
        shop.charge(&ming, "1.00");
    }
    let totals = "select day, merchant_code, payments, payment_total from app.v_reconciliation order by 1, 2";
    let alone = shop.superuser.rows(totals);
    let begins =
        "select count(*), min(app.business_day_start(app.business_day(t.posted_at) + 1)) from app.transactions t";
    let begins_alone = shop.superuser.rows(begins);
    // Each a new session: neither it nor its workers have been asked before.
    for leader in ["on", "off"] {
        for (sql, alone) in [(totals, &alone), (begins, &begins_alone)] {
            let reader = shop.db.superuser();
            reader.run(&format!(
                "set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0; \
                 set enable_indexscan = off; set enable_bitmapscan = off; set parallel_leader_participation = {leader}"
            ));
            let plan = reader.column(&format!("explain {sql}"));
            assert!(plan.iter().any(|line| line.contains("Workers Planned")), "{plan:?}");
            assert_eq!(&reader.rows(sql), alone, "{sql}");
        }
    }
}
