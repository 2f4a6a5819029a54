//! Where one thing gives way to another: what lies just on this side of a refusal.

mod common;

use common::packing::{File, zip};
use common::{LIMITS, alipay, asked, asked_for, file, read, wechat};
use mps_bills::{Kind, Refusal, Yuan};

const ALIPAY: &str = "alipay_utf8.csv";

fn text(name: &str) -> String {
    String::from_utf8(file(name)).unwrap()
}

/// A payment that discounts pay whole, and its refund.
#[test]
fn nothing_may_be_paid() {
    let free = text(ALIPAY).replace(",28.16,22.58,", ",28.16,0.00,").replace("共1969.60元", "共1947.02元");
    let free = free.replace(",-596.40,-590.03,", ",-596.40,0.00,").replace("共-1230.21元", "共-640.18元");
    let (bill, lines) = read(free.as_bytes(), &asked_for(ALIPAY), &LIMITS).unwrap();
    assert_eq!((bill.payments.settled, bill.refunds.settled, lines.len()), (194_702, 64_018, 5));
    assert_eq!(Yuan(0).to_string(), "0.00");
}

/// Three names that are known make a header, of which something may be missing; two make none.
#[test]
fn how_few_names_are_a_header() {
    let of = |header: &str| read(header.as_bytes(), &asked(wechat(), Kind::Trade), &LIMITS).unwrap_err();
    assert_eq!(of("交易时间,商户号,甲"), Refusal::NoHeader { line: 1 });
    assert_eq!(of("交易时间,商户号,微信订单号"), Refusal::Missing { line: 1, column: "公众账号ID" });
    // Any column of refunds asks for an amount of them.
    let paid = "交易时间,公众账号ID,商户号,微信订单号,商户订单号,交易状态,订单金额";
    for column in ["微信退款单号", "商户退款单号", "退款申请时间"] {
        assert_eq!(of(&format!("{paid},{column}")), Refusal::Missing { line: 1, column: "申请退款金额" });
    }
    assert!(matches!(of(paid), Refusal::Cut { line: 1, .. }));
}

/// A file has one charset.
#[test]
fn charsets_do_not_change() {
    let utf8 = text(ALIPAY);
    let lines = utf8.split_inclusive('\n').enumerate();
    let bytes = |(n, line): (usize, &str)| {
        if n == 5 { encoding_rs::GB18030.encode(line).0.into() } else { line.as_bytes().to_vec() }
    };
    let mixed: Vec<u8> = lines.flat_map(bytes).collect();
    assert_eq!(read(&mixed, &asked_for(ALIPAY), &LIMITS).unwrap_err(), Refusal::Charset { line: 6 });
}

/// A file that is told by its name among others, and one beside a folder.
#[test]
fn the_detail_is_found() {
    let bill = file(ALIPAY);
    for name in ["业务明细.csv", "1_DETAILS.csv", "details.csv"] {
        let archive = zip(&[File::new(b"readme.txt", b"?"), File::new(name.as_bytes(), &bill)]);
        assert!(read(&archive, &asked_for(ALIPAY), &LIMITS).is_ok(), "{name}");
    }
    let archive = zip(&[File::new(b"bills/", b""), File::new(b"bills/1.csv", &bill)]);
    assert!(read(&archive, &asked(alipay(), Kind::Trade), &LIMITS).is_ok());
}
