//! Bills that nobody has written down: any that the writer here can make is read back as it was meant, and damaged ones are refused or
//! say what their lines say. `MPS_FUZZ=1000000` is how many damaged ones there are; some thousands otherwise.

mod common;

use common::packing::{File, gzip, zip};
use common::{Added, LIMITS, alipay, asked, asked_for, day, file, folder, provider, read, wechat};
use mps_bills::{Asked, DAY_MICROS, Kind, Stopped};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::convert::Infallible;
use std::time::{Duration, Instant};

/// A line as the writer means it.
#[derive(Clone, Debug)]
struct Meant {
    second: i64,
    amount: i64,
    off: i64,
    /// In hundred-thousandths of a yuan.
    fee: i64,
    is_refund: bool,
    goods: String,
}

fn meant() -> impl Strategy<Value = Meant> {
    let goods = prop_oneof!["[a-zA-Z0-9 '\"]{0,8}", "[一-龥]{0,6}", "[\\u{20000}-\\u{20100}é€]{0,3}"];
    (0i64..86_400, 0i64..100_000_000_000, 0i64..100_000, 0i64..100_000, any::<bool>(), goods).prop_map(
        |(second, amount, off, fee, is_refund, goods)| Meant {
            second,
            amount,
            off: off.min(amount),
            fee,
            is_refund,
            goods,
        },
    )
}

/// How a file is written.
#[derive(Clone, Debug)]
struct Form {
    order: Vec<usize>,
    ending: &'static str,
    has_marks: bool,
    has_bom: bool,
    is_gbk: bool,
    packing: u8,
}

fn form(columns: usize) -> impl Strategy<Value = Form> {
    let order = Just((0..columns).collect::<Vec<_>>()).prop_shuffle();
    let ending = prop_oneof![Just("\n"), Just("\r\n")];
    (order, ending, any::<bool>(), any::<bool>(), any::<bool>(), 0u8..4).prop_map(
        |(order, ending, has_marks, has_bom, is_gbk, packing)| Form {
            order,
            ending,
            has_marks,
            has_bom,
            is_gbk,
            packing,
        },
    )
}

fn yuan(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", fen.abs() / 100, fen.abs() % 100)
}

fn clock(second: i64) -> String {
    format!("2026-11-25 {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

fn packed(text: &str, form: &Form) -> Vec<u8> {
    let content = match (form.is_gbk, form.has_bom) {
        (true, _) => encoding_rs::GB18030.encode(text).0.into_owned(),
        (false, true) => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        (false, false) => text.as_bytes().to_vec(),
    };
    match form.packing {
        0 => gzip(&content),
        1 => zip(&[File::new(b"bill.csv", &content)]),
        2 => zip(&[File { method: 0, ..File::new(b"bill.csv", &content) }]),
        _ => content,
    }
}

const WECHAT: [&str; 18] = [
    "交易时间",
    "公众账号ID",
    "商户号",
    "特约商户号",
    "微信订单号",
    "商户订单号",
    "交易类型",
    "交易状态",
    "货币种类",
    "应结订单金额",
    "微信退款单号",
    "商户退款单号",
    "退款金额",
    "商品名称",
    "手续费",
    "订单金额",
    "申请退款金额",
    "将来",
];

fn wechat_bill(lines: &[Meant], form: &Form) -> (Vec<u8>, Vec<String>) {
    let mark = if form.has_marks { "`" } else { "" };
    let mut text = form.order.iter().map(|place| WECHAT[*place]).collect::<Vec<_>>().join(",");
    let (mut sums, mut expected) = ([0i64; 5], Vec::new());
    for (i, line) in lines.iter().enumerate() {
        let (paid, back) = if line.is_refund { (0, line.amount) } else { (line.amount, 0) };
        let (settled, net) = ((paid - line.off).max(0), (back - line.off).max(0));
        let fee = if line.is_refund { -line.fee } else { line.fee };
        let sign = if fee < 0 { "-" } else { "" };
        let fee_text = format!("{sign}{}.{:05}", fee.abs() / 100_000, fee.abs() % 100_000);
        let (trade, order) = (format!("42{i:026}"), format!("CZ{i:010}"));
        let (refund, out_refund) =
            if line.is_refund { (format!("50{i:08}"), format!("TX{i}-1")) } else { ("0".into(), "0".into()) };
        let state = if line.is_refund { "REFUND" } else { "SUCCESS" };
        let cells = [
            clock(line.second),
            "wxd678efh567hg6787".into(),
            "1900000109".into(),
            "1900000208".into(),
            trade.clone(),
            order.clone(),
            "APP".into(),
            state.into(),
            "CNY".into(),
            yuan(settled),
            refund.clone(),
            out_refund.clone(),
            yuan(net),
            line.goods.clone(),
            fee_text,
            yuan(paid),
            yuan(back),
            "?".into(),
        ];
        text.push_str(form.ending);
        text.push_str(&form.order.iter().map(|place| format!("{mark}{}", cells[*place])).collect::<Vec<_>>().join(","));
        for (sum, amount) in sums.iter_mut().zip([settled, net, fee, paid, back]) {
            *sum += amount;
        }
        let none = |number: String| if number == "0" { String::new() } else { number };
        let at = day().starts_at() + line.second * 1_000_000;
        let entry = if line.is_refund { "refund" } else { "payment" };
        let whose = "wxd678efh567hg6787\t1900000109\t1900000208";
        expected.push(format!(
            "{}\t{entry}\t{at}\t{trade}\t{order}\t{}\t{}\t{state}\t\tAPP\t{paid}\t{settled}\t{back}\t{net}\t{fee}\t{whose}\t\t",
            i + 2, none(refund), none(out_refund),
        ));
    }
    let [settled, net, fee, paid, back] = sums;
    // Rounded to the fen, half away from zero.
    let fee = (fee.abs() + 500) / 1000 * fee.signum();
    let names = "总交易单数,应结订单总金额,退款总金额,手续费总金额,订单总金额,申请退款总金额";
    let totals = [lines.len().to_string(), yuan(settled), yuan(net), yuan(fee), yuan(paid), yuan(back)];
    let totals = totals.map(|total| format!("{mark}{total}")).join(",");
    text.push_str(&format!("{}{names}{}{totals}{}", form.ending, form.ending, form.ending));
    (packed(&text, form), expected)
}

const ALIPAY: [&str; 10] = [
    "支付宝交易号",
    "商户订单号",
    "业务类型",
    "商品名称",
    "完成时间",
    "订单金额（元）",
    "商家实收(元)",
    "商家优惠（元）",
    "退款批次号/请求号",
    "服务费（元）",
];

fn alipay_bill(lines: &[Meant], form: &Form) -> (Vec<u8>, Vec<String>) {
    let head = "#支付宝业务明细查询|#账号：[20881021479480600156]|#起始日期：[2026年11月25日 00:00:00]   终止日期：[2026年11月26日 00:00:00]|#---|";
    let mut text = head.replace('|', form.ending);
    text.push_str(&form.order.iter().map(|place| ALIPAY[*place]).collect::<Vec<_>>().join(","));
    let (mut sums, mut expected) = ([(0, 0i64, 0i64); 2], Vec::new());
    for (i, line) in lines.iter().enumerate() {
        let sign = if line.is_refund { -1 } else { 1 };
        let (trade, order, net) = (format!("2026{i:024}"), format!("CZ{i:010}"), line.amount - line.off);
        let (batch, business) = if line.is_refund { (format!("TX{i}-1"), "退款") } else { (String::new(), "交易") };
        let cells = [
            format!("{trade}\t"),
            format!("{order}\t"),
            format!("{business}\t"),
            line.goods.clone(),
            clock(line.second),
            yuan(sign * line.amount),
            yuan(sign * net),
            yuan(sign * line.off),
            format!("{batch}\t"),
            yuan(-sign * (line.fee / 1000)),
        ];
        text.push_str(form.ending);
        text.push_str(&form.order.iter().map(|place| cells[*place].as_str()).collect::<Vec<_>>().join(","));
        let sum = &mut sums[usize::from(line.is_refund)];
        *sum = (sum.0 + 1, sum.1 + sign * net, sum.2 + sign * line.off);
        let at = day().starts_at() + line.second * 1_000_000;
        let (paid, back) = if line.is_refund { ((0, 0), (line.amount, net)) } else { ((line.amount, net), (0, 0)) };
        let entry = if line.is_refund { "refund" } else { "payment" };
        expected.push(format!(
            "{}\t{entry}\t{at}\t{trade}\t{order}\t\t{batch}\t{business}\t\t\t{}\t{}\t{}\t{}\t{}\t\t\t\t2088102147948060\t",
            i + 6, paid.0, paid.1, back.0, back.1, sign * (line.fee / 1000 * 1000),
        ));
    }
    let [(n, x, y), (m, u, v)] = sums;
    text.push_str(&format!(
        "{0}#---列表结束{0}#交易合计：{n}笔，商家实收共{1}元，商家优惠共{2}元{0}",
        form.ending,
        yuan(x),
        yuan(y)
    ));
    text.push_str(&format!(
        "#退款合计：{m}笔，商家实收退款共{}元，商家优惠退款共{}元{}",
        yuan(u),
        yuan(v),
        form.ending
    ));
    (packed(&text, form), expected)
}

proptest! {
    #![proptest_config(Config { cases: 512, ..Config::default() })]

    #[test]
    fn what_is_written_for_wechat_is_read(lines in proptest::collection::vec(meant(), 0..12), form in form(WECHAT.len())) {
        let (content, expected) = wechat_bill(&lines, &Form { is_gbk: false, ..form });
        let (bill, lines) = read(&content, &asked(provider(), Kind::Trade), &LIMITS).unwrap();
        prop_assert_eq!((bill.warnings.len(), lines), (0, expected));
    }

    #[test]
    fn what_is_written_for_alipay_is_read(lines in proptest::collection::vec(meant(), 0..12), form in form(ALIPAY.len())) {
        let (content, expected) = alipay_bill(&lines, &form);
        let (bill, lines) = read(&content, &asked(alipay(), Kind::Trade), &LIMITS).unwrap();
        prop_assert_eq!((bill.warnings.len(), lines), (0, expected));
    }
}

/// A change of a file.
#[derive(Clone, Debug)]
enum Damage {
    Flip(u32, u8),
    Set(u32, u8),
    Cut(u32),
    Remove(u32, u16),
    Insert(u32, Vec<u8>),
    /// A piece of another file, or of the same one.
    Splice(u32, u8, u32, u16),
}

fn damage() -> impl Strategy<Value = Damage> {
    // What such files have, more often than what they have not.
    let piece = prop_oneof![
        "[`,\\.0-9\\n\\r\\t#-]{1,6}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 1..6),
        Just("\n`2026-11-25 10:00:00,`".as_bytes().to_vec()),
        Just("#交易合计：1笔，商家实收共".as_bytes().to_vec()),
    ];
    let byte = prop_oneof![
        any::<u8>(),
        prop_oneof![Just(b','), Just(b'0'), Just(b'9'), Just(b'\n'), Just(b'`'), Just(b'-'), Just(b'.')]
    ];
    prop_oneof![
        (any::<u32>(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (any::<u32>(), byte).prop_map(|(at, byte)| Damage::Set(at, byte)),
        any::<u32>().prop_map(Damage::Cut),
        (any::<u32>(), 1u16..300).prop_map(|(at, length)| Damage::Remove(at, length)),
        (any::<u32>(), piece).prop_map(|(at, piece)| Damage::Insert(at, piece)),
        (any::<u32>(), any::<u8>(), any::<u32>(), 1u16..400)
            .prop_map(|(at, file, from, n)| Damage::Splice(at, file, from, n)),
    ]
}

fn damaged(content: &mut Vec<u8>, damage: &Damage, files: &[(String, Vec<u8>)]) {
    let place = |at: u32, length: usize| at as usize % (length + 1);
    match damage {
        Damage::Flip(at, bit) if !content.is_empty() => {
            let at = place(*at, content.len() - 1);
            content[at] ^= 1 << bit;
        }
        Damage::Set(at, byte) if !content.is_empty() => {
            let at = place(*at, content.len() - 1);
            content[at] = *byte;
        }
        Damage::Flip(..) | Damage::Set(..) => {}
        Damage::Cut(at) => content.truncate(place(*at, content.len())),
        Damage::Remove(at, length) => {
            let at = place(*at, content.len());
            content.drain(at..(at + usize::from(*length)).min(content.len()));
        }
        Damage::Insert(at, piece) => {
            let at = place(*at, content.len());
            content.splice(at..at, piece.iter().copied());
        }
        Damage::Splice(at, file, from, length) => {
            let other = &files[usize::from(*file) % files.len()].1;
            let from = place(*from, other.len());
            let piece = other[from..(from + usize::from(*length)).min(other.len())].to_vec();
            let at = place(*at, content.len());
            content.splice(at..at, piece);
        }
    }
}

/// A damaged file, repacked or not: no panic, bounded lines, and a bill only where its sums are those of the lines that were given.
fn holds(content: &[u8], asked: &Asked<'_>) -> Result<bool, TestCaseError> {
    let (started, mut added, mut last, mut given) = (Instant::now(), Added::default(), 0, 0usize);
    let read = mps_bills::read(content, asked, &LIMITS, |line| {
        added.line(line);
        // Lines come in the order of the file, within the limits and of the day that was asked for.
        let beside = (line.at - day().starts_at()).clamp(-600_000_000, DAY_MICROS + 600_000_000);
        assert!(line.number > last && line.at - day().starts_at() == beside);
        last = line.number;
        given += line.trade_no.len() + line.order_no.len() + line.state.len();
        Ok::<(), Infallible>(())
    });
    prop_assert!(started.elapsed() < Duration::from_secs(5), "it took {:?}", started.elapsed());
    prop_assert!(given as u64 <= LIMITS.unzipped_bytes);
    match read {
        Ok(bill) => {
            prop_assert_eq!(Added::of(&bill), added);
            prop_assert!(bill.warnings.len() <= mps_bills::Warning::MOST);
            Ok(true)
        }
        Err(Stopped::Refused(refusal)) => {
            let sentence = refusal.to_string();
            prop_assert!((10..600).contains(&sentence.len()) && !sentence.chars().any(char::is_control), "{sentence}");
            Ok(false)
        }
        Err(Stopped::BySink(never)) => match never {},
    }
}

#[test]
fn damaged_files_are_refused_or_say_what_their_lines_say() {
    let mut names: Vec<String> =
        std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with(".tsv"));
    names.sort();
    let files: Vec<(String, Vec<u8>)> = names.into_iter().map(|name| (name.clone(), file(&name))).collect();
    let cases = std::env::var("MPS_FUZZ").map_or(8_000, |n| n.parse().expect("MPS_FUZZ is a number"));
    let mut runner = TestRunner::new(Config { cases, ..Config::default() });
    let (mut accepted, mut tried) = (0u32, 0u32);
    let counts = std::cell::RefCell::new((&mut accepted, &mut tried));
    let strategy = (any::<u8>(), proptest::collection::vec(damage(), 1..4), 0u8..4);
    let held = runner.run(&strategy, |(which, damages, packing)| {
        let (name, content) = &files[usize::from(which) % files.len()];
        let mut content = content.clone();
        damages.iter().for_each(|damage| damaged(&mut content, damage, &files));
        let content = match packing {
            0 => gzip(&content),
            1 => zip(&[File::new(b"a.csv", &content)]),
            _ => content,
        };
        let is_accepted = holds(&content, &asked_for(name))?;
        // Whoever asks for something else gets no panic either.
        holds(&content, &asked(if which % 2 == 0 { wechat() } else { alipay() }, Kind::Trade))?;
        let mut counts = counts.borrow_mut();
        *counts.0 += u32::from(is_accepted);
        *counts.1 += 1;
        Ok(())
    });
    held.unwrap();
    println!("{tried} damaged files, {accepted} of them accepted");
    // Damage that says nothing (a text, a blank line) is accepted, nearly all of the rest is not.
    assert!(accepted > 0 && accepted < tried / 2, "{accepted} of {tried}");
}
