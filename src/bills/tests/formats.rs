//! Bills of every form. The files in `bills/` are made by `generate.py`, which also says what stands in each of their lines.

mod common;

use common::{asked, asked_for, file, folder, read};
use mps_bills::{Account, Asked, Charset, Day, Entry, Kind, Limits, Packed, Provider, Refusal, Side, Stopped, Warning};

fn table(name: &str) -> Vec<Vec<String>> {
    let text = String::from_utf8(file(name)).unwrap();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

#[test]
fn every_bill_is_read_as_the_second_implementation_wrote_it() {
    let (bills, lines) = (table("bills.tsv"), table("lines.tsv"));
    for bill in &bills {
        let name = &bill[0];
        let expected: Vec<String> =
            lines.iter().filter(|line| line[0] == *name).map(|line| line[1..].join("\t")).collect();
        let (said, lines) =
            read(&file(name), &asked_for(name), &common::LIMITS).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(lines, expected, "{name}");
        let provider = if said.provider == Provider::Wechat { "wechat" } else { "alipay" };
        let packed = match said.packed {
            Packed::Plain => "plain",
            Packed::Gzip => "gzip",
            Packed::Zip => "zip",
        };
        let charset = if said.charset == Charset::Utf8 { "utf8" } else { "gb18030" };
        let numbers = [said.lines.to_string(), said.warnings.len().to_string()];
        let kind = said.kind.to_string();
        assert_eq!([provider, &kind, packed, charset, &numbers[0], &numbers[1]], bill[1..], "{name}");
    }
    // None is left out, and there is enough of each.
    let on_disk = std::fs::read_dir(folder()).unwrap().count();
    assert_eq!((on_disk, lines.len() > 100), (bills.len() + 2, true));
}

/// From wechatpay-apiv3/wechatpay-php, Apache-2.0: a trade bill of a test merchant.
#[test]
fn the_real_sample() {
    let content = include_bytes!("wechat_trade_bill_all.csv");
    let appids = ["wxab8acd895ab1638a".to_owned()];
    let account = Account::Wechat { mchid: "1921000401", sub_mchids: None, appids: &appids };
    let asked = Asked { kind: Kind::Trade, day: Day::new(2019, 2, 19).unwrap(), account };
    let (bill, lines) = read(content, &asked, &Limits::default()).unwrap();
    assert_eq!((bill.lines, lines.len()), (45, 45));
    assert_eq!(bill.payments, Side { count: 31, amount: 47, settled: 47, fee: 8_000 });
    assert_eq!(bill.refunds, Side { count: 14, amount: 14, settled: 14, fee: 0 });
    assert_eq!((bill.charset, bill.packed, bill.warnings), (Charset::Utf8, Packed::Plain, vec![]));
    assert!(
        lines[0]
            .starts_with("2\trefund\t1550523706000000\t4200000263201902167700134212\tautotest_20190216081946_82335\t")
    );
}

/// What SDKs of others show of real files, in a form that is older than today's.
#[test]
fn a_bill_of_2014() {
    let content = "交易时间,公众账号ID,商户号,子商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,总金额,\
        代金券或立减优惠金额,微信退款单号,商户退款单号,退款金额,代金券或立减优惠退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率\n\
        `2014-11-10 16:33:45,`wx1,`10000100,`0,`1000,`100169,`1415640626,`o1,`MICROPAY,`SUCCESS,`OTHERS,`CNY,`0.01,`0.0,\
        `0,`0,`0,`0,`,`,`被扫,`,`0,`0.60%\n\
        `2014-11-10 16:46:14,`wx1,`10000100,`0,`1000,`100278,`1415635270,`o1,`MICROPAY,`SUCCESS,`OTHERS,`CNY,`0.01,`0.0,\
        `0,`0,`0,`0,`,`,`被扫,`,`0,`0.60%\n\
        总交易单数,总交易额,总退款金额,总代金券或立减优惠退款金额,手续费总金额\n`2,`0.02,`0.0,`0.0,`0";
    let account = Account::Wechat { mchid: "10000100", sub_mchids: None, appids: &[] };
    let asked = Asked { kind: Kind::Trade, day: Day::new(2014, 11, 10).unwrap(), account };
    let (bill, _) = read(content.as_bytes(), &asked, &common::LIMITS).unwrap();
    assert_eq!(bill.payments, Side { count: 2, amount: 2, settled: 2, fee: 0 });
}

#[test]
fn an_account_of_2012() {
    let content = "#支付宝账务明细查询\n#账号：[20888011365400330156]\n\
        #起始日期：[2012年12月29日 00:00:00]   终止日期：[2012年12月30日 00:00:00]\n#-----账务明细列表-----\n\
        账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,收入金额（+元）,支出金额（-元）,账户余额（元）,交易渠道,业务类型,备注\n\
        54632446537371\t,2012122923922029\t,3226563\t,机票\t,2012-12-29 21:02:06,陈 (k@126.com)\t,2274.00,0.00,14533.03,支付宝,在线支付,\n\
        #-----账务明细列表结束-----\n#支出合计：0笔，共0.00元\n#收入合计：1笔，共2274.00元\n#导出时间：[2012年12月31日 13:19:01]\n";
    let sellers = ["2088801136540033".to_owned()];
    let account = Account::Alipay { seller_ids: &sellers };
    let asked = Asked { kind: Kind::Fundflow, day: Day::new(2012, 12, 29).unwrap(), account };
    let (bill, lines) = read(content.as_bytes(), &asked, &common::LIMITS).unwrap();
    assert_eq!(bill.incoming, Side { count: 1, amount: 227_400, settled: 0, fee: 0 });
    assert_eq!((bill.account.as_deref(), lines.len()), (Some("2088801136540033"), 1));
}

/// An odd totals line, an unknown state, a file that does not say whose it is: accepted, and said.
#[test]
fn warnings() {
    let text = String::from_utf8(file("alipay_utf8.csv")).unwrap();
    let said = |text: &str| read(text.as_bytes(), &asked_for("alipay_utf8.csv"), &common::LIMITS).unwrap().0.warnings;
    assert_eq!(said(&text), []);
    let odd = text.replace("#交易合计：3笔，", "#交易合计：共3笔；");
    assert!(
        matches!(&said(&odd)[..], [Warning::UnknownTotal { line: 12, text }] if text.starts_with("交易合计：共3笔"))
    );
    let anonymous = text.replace("#账号", "#账户");
    assert_eq!(said(&anonymous), [Warning::NoAccount]);
    let period = text.replace("[2026年", "[某年").replace("11月", "某月").replace("25日", "某日");
    assert!(matches!(&said(&period)[..], [Warning::UnknownPeriod { line: 3, .. }]));
    let transfer = "2026112522\t,CZ1\t,转账\t,,,2026-11-25 10:00:00,,,,,,1.00,1.00,,,,,,,,,,,,\n";
    let end = text.rfind("#---").unwrap();
    let other = format!("{}{transfer}{}", &text[..end], &text[end..]);
    assert!(matches!(&said(&other)[..], [Warning::UnknownState { line: 11, text }] if text == "转账"));
    for warning in [&said(&odd)[0], &said(&anonymous)[0], &said(&period)[0], &said(&other)[0], &Warning::NoTotals] {
        assert!(warning.to_string().len() > 20);
    }
    // A state that WeChat has not had so far: its totals hold all the same.
    let wechat = String::from_utf8(file("wechat_all.csv")).unwrap().replacen("SUCCESS,`OTHERS", "ACCEPT,`OTHERS", 1);
    let mut entries = Vec::new();
    let bill = mps_bills::read(wechat.as_bytes(), &asked_for("wechat_all.csv"), &common::LIMITS, |line| {
        entries.push(line.entry);
        Ok::<(), ()>(())
    });
    assert_eq!((entries[0], bill.unwrap().warnings.len()), (Entry::Other, 1));
}

/// What the totals line says that is known is compared, also where the rest of it is not.
#[test]
fn half_a_total_is_compared() {
    let text = String::from_utf8(file("alipay_utf8.csv")).unwrap();
    let longer = text.replace("#交易合计：3笔，", "#交易合计：3笔，手续费共9.99元，");
    let asked = asked_for("alipay_utf8.csv");
    assert_eq!(read(longer.as_bytes(), &asked, &common::LIMITS).unwrap().0.warnings.len(), 1);
    let wrong = longer.replace("#交易合计：3笔，", "#交易合计：4笔，");
    assert!(read(wrong.as_bytes(), &asked, &common::LIMITS).is_err());
}

#[test]
fn a_sink_may_stop() {
    let mut given = 0;
    let stopped = mps_bills::read(&file("wechat_all.csv"), &asked_for("wechat_all.csv"), &common::LIMITS, |_| {
        given += 1;
        if given == 3 { Err("enough") } else { Ok(()) }
    });
    assert_eq!((stopped, given), (Err(Stopped::BySink("enough")), 3));
}

/// Lists that are empty ask for nothing.
#[test]
fn an_account_asks_for_what_it_has() {
    let anybody = Account::Wechat { mchid: "1900000109", sub_mchids: Some(&[]), appids: &[] };
    for name in ["wechat_all.csv", "wechat_provider.csv"] {
        assert!(read(&file(name), &asked(anybody, Kind::Trade), &common::LIMITS).is_ok());
    }
    let anybody = Account::Alipay { seller_ids: &[] };
    assert!(read(&file("alipay.zip"), &asked(anybody, Kind::Trade), &common::LIMITS).is_ok());
}

/// A total that is no number is one of an unknown form; a summary is told by its title, whatever its columns are called.
#[test]
fn odd_heads_and_ends() {
    let (text, asked) = (String::from_utf8(file("alipay_utf8.csv")).unwrap(), asked_for("alipay_utf8.csv"));
    for odd in ["商家实收共甲元", "商家实收1969.60元", "商家实收共元", "商家收共1.00元"] {
        let odd = text.replace("商家实收共1969.60元", odd);
        let (bill, lines) = read(odd.as_bytes(), &asked, &common::LIMITS).unwrap();
        assert_eq!((bill.warnings.len(), lines.len()), (1, 5));
    }
    let summary = text.replacen("明细", "汇总", 1);
    let refusal = read(summary.as_bytes(), &asked, &common::LIMITS).unwrap_err();
    assert_eq!(refusal, Refusal::Summary { line: 5 });
}

/// A total that WeChat adds one day is no reason to refuse; it is said unless it is zero.
#[test]
fn a_total_that_is_not_known() {
    let (text, asked) = (String::from_utf8(file("wechat_all.csv")).unwrap(), asked_for("wechat_all.csv"));
    for (says, warnings) in [("0.00", 0), ("1.00", 1), ("?", 0)] {
        let more = text.replace(",申请退款总金额\r\n", ",申请退款总金额,新总金额\r\n");
        let more = more.replace("`1222.29\r\n", &format!("`1222.29,`{says}\r\n"));
        assert_eq!(read(more.as_bytes(), &asked, &common::LIMITS).unwrap().0.warnings.len(), warnings);
    }
}
