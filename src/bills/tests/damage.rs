//! Every way in which a file is no bill, or not the one that was asked for: refused with its line and why.

mod common;

use common::packing::{File, gzip, zip};
use common::{LIMITS, alipay, asked, asked_for, file, read};
use mps_bills::{Account, Asked, Day, Kind, Limits, Refusal};

const WECHAT: &str = "wechat_all.csv";
const FLOW: &str = "wechat_flow.csv";
const ALIPAY: &str = "alipay_utf8.csv";
const ACCOUNT: &str = "alipay_account_shuffled.csv";

fn text(name: &str) -> String {
    String::from_utf8(file(name)).unwrap()
}

#[track_caller]
fn refusal(content: &[u8], asked: &Asked<'_>) -> Refusal {
    match read(content, asked, &LIMITS) {
        Ok((bill, _)) => panic!("accepted: {bill:?}"),
        Err(refusal) => refusal,
    }
}

/// Refused after one change of a good file; the sentence that says so.
#[track_caller]
fn says(name: &str, from: &str, to: &str, sentence: &str) {
    let good = text(name);
    let bad = good.replacen(from, to, 1);
    assert_ne!(good, bad, "{from} is not in {name}");
    let asked = asked_for(name);
    assert_eq!(refusal(bad.as_bytes(), &asked).to_string(), sentence);
    // Packed, it is refused in the same words.
    assert_eq!(refusal(&gzip(bad.as_bytes()), &asked).to_string(), sentence);
    let archive = zip(&[File::new(b"bill.csv", bad.as_bytes())]);
    assert_eq!(refusal(&archive, &asked).to_string(), sentence);
}

#[test]
fn headers() {
    says(WECHAT, ",微信订单号", ",微信单号", "line 1: the header has no column 微信订单号");
    says(WECHAT, ",商户号,", ",商家号,", "line 1: the header has no column 商户号");
    says(WECHAT, ",公众账号ID", ",公众号", "line 1: the header has no column 公众账号ID");
    says(WECHAT, ",交易状态", ",状态", "line 1: the header has no column 交易状态");
    says(WECHAT, ",货币种类", ",商户号", "line 1: the header has the column 商户号 twice");
    let bare = text(WECHAT).replace(",应结订单金额", ",甲").replace(",订单金额", ",乙");
    let sentence = refusal(bare.as_bytes(), &asked_for(WECHAT)).to_string();
    assert_eq!(sentence, "line 1: the header has no column 订单金额");
    let bare = text(WECHAT).replace(",退款金额", ",甲").replace(",申请退款金额", ",乙");
    let sentence = refusal(bare.as_bytes(), &asked_for(WECHAT)).to_string();
    assert_eq!(sentence, "line 1: the header has no column 申请退款金额");
    says(FLOW, ",收支类型", ",类型", "line 1: the header has no column 收支类型");
    says(ALIPAY, ",完成时间", ",时间", "line 5: the header has no column 完成时间");
    says(ACCOUNT, ",账务流水号", ",流水号", "line 5: the header has no column 账务流水号");
    let again = text(WECHAT);
    let header = again.lines().next().unwrap().trim_start_matches('\u{feff}');
    says(WECHAT, "`2026-11-25 04", &format!("{header}\r\n`2026-11-25 04"), "line 4: a second header");
    let header = text(ALIPAY).lines().nth(4).unwrap().to_owned();
    says(
        ALIPAY,
        "2026112522001400000000000001",
        &format!("{header}\n2026112522001400000000000001"),
        "line 7: a second header",
    );
    assert_eq!(
        refusal(b"a,b,c\r\n1,2,3\r\n", &asked_for(WECHAT)).to_string(),
        "line 1: no header of a bill that is known"
    );
    let none = "#支付宝业务明细查询\n#账号：[20881021479480600156]\n";
    assert_eq!(refusal(none.as_bytes(), &asked_for(ALIPAY)).to_string(), "line 2: no header of a bill that is known");
}

#[test]
fn columns() {
    let why = "a comma in a text cannot be told from one between columns";
    says(WECHAT, "`OTHERS,", "", &format!("line 2 has 26 columns, the header 27; {why}"));
    says(WECHAT, "`OTHERS,", "`OTHERS,`MORE,", &format!("line 2 has 28 columns, the header 27; {why}"));
    says(
        WECHAT,
        "`1266.31,`0.00,`\r\n",
        "`1266.31,`0.00,`,more\r\n",
        &format!("line 2 has 28 columns, the header 27; {why}"),
    );
    says(WECHAT, "`NATIVE", "`NAT,IVE", &format!("line 2 has 28 columns, the header 27; {why}"));
    says(WECHAT, "`5.0,", "`5.0,`1,", &format!("line 8 has 8 columns, the header 7; {why}"));
    says(ALIPAY, "会员卡", "会员卡,大", &format!("line 6 has 26 columns, the header 25; {why}"));
    says(ACCOUNT, ",储值\t\r\n", "\r\n", &format!("line 6 has 11 columns, the header 12; {why}"));
    says(
        "wechat_all_lf_bare.csv",
        "2026-11-25",
        "2026-11-25,",
        &format!("line 2 has 28 columns, the header 27; {why}"),
    );
}

/// A backtick tells a comma of the shop's text from one between columns.
#[test]
fn a_comma_behind_a_backtick_is_text() {
    let good = text(WECHAT);
    let with = good.replacen("`充值\\ 赠送", "`充值,赠送,,", 1).replacen("`a=1\\ b=2", "`a,b", 1);
    assert_eq!(read(with.as_bytes(), &asked_for(WECHAT), &LIMITS), read(good.as_bytes(), &asked_for(WECHAT), &LIMITS));
}

#[test]
fn cells() {
    says(WECHAT, "`1266.31", "`1266.3l", "line 2: 订单金额 is no amount: 1266.3l");
    says(WECHAT, "`1266.31", "`1266.311", "line 2: 订单金额 is no amount: 1266.311");
    says(WECHAT, "`1085.02", "`", "line 2: 应结订单金额 is no amount: ");
    says(WECHAT, "`6.51012", "`6.510121", "line 2: 手续费 is no amount: 6.510121");
    says(WECHAT, "`631.88", "`1e2", "line 3: 退款金额 is no amount: 1e2");
    says(WECHAT, "`702.08", "`-702.08", "line 3: 申请退款金额 has the wrong sign: -702.08");
    says(WECHAT, "`2026-11-25 15:50:39", "`2026-11-25 15:60:39", "line 2: 交易时间 is no time: 2026-11-25 15:60:39");
    says(WECHAT, "`2026-11-25 15:50:39", "`2026/11/25 15:50", "line 2: 交易时间 is no time: 2026/11/25 15:50");
    says(WECHAT, "`CNY", "`USD", "line 2: another currency than CNY: USD");
    says(WECHAT, "`42000026112511000000000000", "`", "line 2: 微信订单号 is empty");
    says(WECHAT, "`CZ2611000000", "`0", "line 2: 商户订单号 is empty");
    says(FLOW, "`支出", "`转出", "line 2: neither 收入 nor 支出: 转出");
    says(FLOW, "`584.76", "`-584.76", "line 2: 收支金额 has the wrong sign: -584.76");
    says(FLOW, "`9415.24", "`many", "line 2: 账户结余 is no amount: many");
    says(FLOW, "`100003980100000000", "`", "line 2: 资金流水单号 is empty");
    says(ALIPAY, ",1799.89,", ",,", "line 6: 订单金额 is no amount: ");
    says(ALIPAY, ",1799.89,", ",-1799.89,", "line 6: 订单金额 has the wrong sign: -1799.89");
    says(ALIPAY, ",-590.03,", ",590.03,", "line 7: 商家实收 has the wrong sign: 590.03");
    says(ALIPAY, "23:59:59,", "23:59,", "line 7: 完成时间 is no time: 2026-11-25 23:59");
    says(ACCOUNT, ",514.46,", ", ,", "line 6: 收入金额 is no amount: ");
    says(ACCOUNT, ",514.46,", ",-514.46,", "line 6: 收入金额 has the wrong sign: -514.46");
    says(ACCOUNT, "000000\t, ,", "000000\t,-1.00,", "line 6: neither 收入 nor 支出: both");
    let most = "999999999999.99";
    let header = text(WECHAT).lines().next().unwrap().to_owned();
    let line = text(WECHAT).lines().nth(1).unwrap().replace("6.51012", most);
    let huge = format!("{header}\n{}", format!("{line}\n").repeat(93));
    let too_much = refusal(huge.as_bytes(), &Asked { ..asked_for(WECHAT) });
    assert_eq!(too_much.to_string(), "line 94: the sum is too large");
}

#[test]
fn totals() {
    for (from, to, sentence) in [
        ("`5.0,", "`6,", "line 8: 总交易单数 says 6, the lines add up to 5"),
        ("`3802.56", "`3802.57", "line 8: 应结订单总金额 says 3802.57, the lines add up to 3802.56"),
        ("`1100.07", "`1100.06", "line 8: 退款总金额 says 1100.06, the lines add up to 1100.07"),
        ("`122.22", "`0.00", "line 8: 充值券退款总金额 says 0.00, the lines add up to 122.22"),
        ("`15.48,", "`15.49,", "line 8: 手续费总金额 says 15.49, the lines add up to 15.48162"),
        ("`4910.76", "`491076", "line 8: 订单总金额 says 491076, the lines add up to 4910.76"),
        ("`1222.29", "`12Z", "line 8: 申请退款总金额 says 12Z, the lines add up to 1222.29"),
        ("`2053.14", "`2053.15", "line 8: 订单总金额 says 4910.76, the lines add up to 4910.77"),
    ] {
        says(WECHAT, from, to, sentence);
    }
    says(FLOW, "`2.0,`438.21", "`3.0,`438.21", "line 9: 收入笔数 says 3.0, the lines add up to 2");
    says(FLOW, "`438.21", "`438.20", "line 9: 收入金额 says 438.20, the lines add up to 438.21");
    says(FLOW, "`4.0,", "`5.0,", "line 9: 支出笔数 says 5.0, the lines add up to 4");
    says(FLOW, "`2015.89", "`0", "line 9: 支出金额 says 0, the lines add up to 2015.89");
    says(FLOW, "`6.0", "`7.0", "line 9: 资金流水总笔数 says 7.0, the lines add up to 6");
    says(ALIPAY, "交易合计：3", "交易合计：2", "line 12: 笔数 says 2, the lines add up to 3");
    says(ALIPAY, "共1969.60元", "共1969.61元", "line 12: 商家实收 says 1969.61, the lines add up to 1969.60");
    says(ALIPAY, "共425.72元", "共425.71元", "line 12: 商家优惠 says 425.71, the lines add up to 425.72");
    says(ALIPAY, "共-1230.21元", "共1230.21元", "line 13: 商家实收退款 says 1230.21, the lines add up to -1230.21");
    says(ACCOUNT, "共-906.34元", "共-906.35元", "line 13: 合计 says -906.35, the lines add up to 906.34");
    says(ACCOUNT, "收入合计：2笔", "收入合计：1笔", "line 14: 笔数 says 1, the lines add up to 2");
    let none = text(WECHAT).replace("应结订单总金额", "甲").replace(",订单总金额", ",乙");
    let sentence = refusal(none.as_bytes(), &asked_for(WECHAT)).to_string();
    assert_eq!(sentence, "line 8: the header has no column 应结订单总金额");
}

/// At every line's end, and with a part of a line.
#[test]
fn cut_files() {
    for name in [WECHAT, FLOW, ALIPAY, ACCOUNT, "wechat_empty.csv", "alipay_empty.csv"] {
        let (content, whole) = (file(name), read(&file(name), &asked_for(name), &LIMITS).unwrap());
        let mut accepted = Vec::new();
        for length in 0..content.len() {
            // Where it is accepted, what is cut away says nothing about the lines.
            if let Ok((bill, lines)) = read(&content[..length], &asked_for(name), &LIMITS) {
                assert_eq!((bill.lines, &lines), (whole.0.lines, &whole.1), "{name} cut to {length}");
                accepted.push(length);
            }
        }
        // WeChat's last total, whose zeros at the end say nothing, and the end of its line.
        assert!(!name.starts_with("wechat") || accepted.iter().all(|n| n + 6 > content.len()), "{name}: {accepted:?}");
    }
    let cut =
        |name: &str, at: &str| refusal(text(name).split(at).next().unwrap().as_bytes(), &asked_for(name)).to_string();
    assert_eq!(cut(WECHAT, "总交易单数"), "the file ends with line 6 and lacks its totals: it is cut");
    assert_eq!(cut(WECHAT, "`5.0"), "the file ends with line 7 and lacks its totals: it is cut");
    assert_eq!(cut(FLOW, "资金流水总笔数"), "the file ends with line 7 and lacks its totals: it is cut");
    assert_eq!(cut(ALIPAY, "#交易合计"), "the file ends with line 11 and lacks its totals: it is cut");
    let lacks = "the totals of refunds or outgoing money";
    assert_eq!(cut(ALIPAY, "#退款合计"), format!("the file ends with line 12 and lacks {lacks}: it is cut"));
    let lacks = "the totals of payments or incoming money";
    assert_eq!(cut(ACCOUNT, "#收入合计"), format!("the file ends with line 13 and lacks {lacks}: it is cut"));
    assert_eq!(cut(ACCOUNT, "#---"), "line 3: no header of a bill that is known");
    says(WECHAT, "`1222.29\r\n", "`1222.29\r\n`2026", "line 9: a line after the totals");
    says(ALIPAY, "#导出时间", "2026112522\n#导出时间", "line 14: a line after the totals");
}

#[test]
fn days() {
    let other = |name: &str, day: i64| {
        let asked = Asked { day: Day::new(2026, 11, day).unwrap(), ..asked_for(name) };
        refusal(&file(name), &asked).to_string()
    };
    assert_eq!(other(WECHAT, 26), "line 2 is of 2026-11-25, the bill of 2026-11-26 was asked for");
    assert_eq!(other(WECHAT, 24), "line 2 is of 2026-11-25, the bill of 2026-11-24 was asked for");
    assert_eq!(other(FLOW, 26), "line 2 is of 2026-11-25, the bill of 2026-11-26 was asked for");
    assert_eq!(other(ALIPAY, 26), "line 3 is of 2026-11-25, the bill of 2026-11-26 was asked for");
    // The head says it, also where there are no lines.
    assert_eq!(other("alipay_empty.csv", 26), "line 3 is of 2026-11-25, the bill of 2026-11-26 was asked for");
    let month = "line 3 is of 2026-11-25 to 2026-12-01, the bill of 2026-11-25 was asked for";
    says(ALIPAY, "终止日期：[2026年11月26日", "终止日期：[2026年12月01日", month);
    says(
        ALIPAY,
        "2026-11-25 11:45:01",
        "2026-11-27 11:45:01",
        "line 6 is of 2026-11-27, the bill of 2026-11-25 was asked for",
    );
    // Ten minutes beside the day are within it, as long as another line is not beside it.
    for (name, at) in [(WECHAT, "2026-11-25 15:50:39"), (FLOW, "2026-11-25 13:11:51"), (ALIPAY, "2026-11-25 11:45:01")]
    {
        for (time, is_taken) in [
            ("2026-11-26 00:09:59", true),
            ("2026-11-26 00:10:00", false),
            ("2026-11-24 23:50:00", true),
            ("2026-11-24 23:49:59", false),
        ] {
            let bill = read(text(name).replacen(at, time, 1).as_bytes(), &asked_for(name), &LIMITS);
            assert_eq!(bill.is_ok(), is_taken, "{name} {time}");
        }
    }
    let all = text("wechat_success.csv");
    let lines = all.lines().map(|line| {
        if line.starts_with('`') && line.contains("CNY") {
            format!("`2026-11-26 00:00:01{}", &line[20..])
        } else {
            line.to_owned()
        }
    });
    let all: Vec<String> = lines.collect();
    let sentence = refusal(all.join("\n").as_bytes(), &asked_for(WECHAT)).to_string();
    assert_eq!(sentence, "line 2 is of 2026-11-26, the bill of 2026-11-25 was asked for");
}

#[test]
fn of_another() {
    let others = ["wx2".to_owned()];
    let is = |name: &str, account: Account<'_>| {
        let asked = Asked { account, ..asked_for(name) };
        match read(&file(name), &asked, &LIMITS) {
            Ok(_) => "accepted".to_owned(),
            Err(refusal) => refusal.to_string(),
        }
    };
    let account = Account::Wechat { mchid: "1900000100", sub_mchids: None, appids: &[] };
    assert_eq!(is(WECHAT, account), "line 2: 商户号 is 1900000109, which is not of this account");
    let account = Account::Wechat { mchid: "1900000109", sub_mchids: None, appids: &others };
    assert_eq!(is(WECHAT, account), "line 2: 公众账号ID is wxd678efh567hg6787, which is not of this account");
    let account = Account::Wechat { mchid: "1900000109", sub_mchids: None, appids: &[] };
    assert_eq!(is("wechat_provider.csv", account), "line 2: 特约商户号 is 1900000208, which is not of this account");
    let account = Account::Wechat { mchid: "1900000109", sub_mchids: Some(&others), appids: &[] };
    assert_eq!(is("wechat_provider.csv", account), "line 2: 特约商户号 is 1900000208, which is not of this account");
    let sellers = ["2088102147948061".to_owned()];
    let account = Account::Alipay { seller_ids: &sellers };
    assert_eq!(is(ALIPAY, account), "line 2: 账号 is 2088102147948060, which is not of this account");
    assert_eq!(is("alipay.zip", account), "line 2: 账号 is 2088102147948060, which is not of this account");
    assert_eq!(is(ACCOUNT, account), "line 2: 账号 is 2088102147948060, which is not of this account");
    assert_eq!(is(WECHAT, account), "line 1: this is a bill of WeChat Pay, the account is one of Alipay");
    let asked = asked(alipay(), Kind::Fundflow);
    let other = refusal(&file(ALIPAY), &asked).to_string();
    assert_eq!(other, "line 5: this is a trade bill, a fundflow bill was asked for");
    // One line among others.
    says(
        WECHAT,
        "04:23:25,`wxd678efh567hg6787,`1900000109",
        "04:23:25,`wx1,`1900000109",
        "line 4: 公众账号ID is wx1, which is not of this account",
    );
}

#[test]
fn what_is_no_bill() {
    let of = |content: &[u8]| refusal(content, &asked_for(WECHAT)).to_string();
    assert_eq!(of(b""), "the file is empty");
    assert_eq!(of(b"\xef\xbb\xbf\r\n \n"), "the file is empty");
    assert_eq!(of(&gzip(b"")), "the file is empty");
    let none =
        "the gateway says that it has no bill of this day (NO_STATEMENT_EXIST): that is an answer of its API, no bill";
    assert_eq!(of(b"{\"code\":\"NO_STATEMENT_EXIST\",\"message\":\"none\"}"), none);
    assert_eq!(of(b"{\n  \"sub_code\": \"isp.bill_not_exist\"\n}\n"), none);
    assert_eq!(of(b"<xml><return_msg>No Bill Exist</return_msg><error_code>20002</error_code></xml>"), none);
    let other = "this is an answer of an API or a web page, no bill: {\"code\":\"SIGN_ERROR\"}";
    assert_eq!(of(b"{\"code\":\"SIGN_ERROR\"}"), other);
    assert_eq!(of(b"<html>\n<body>"), "this is an answer of an API or a web page, no bill: <html> <body>");
    let summary = "#支付宝业务汇总查询\n#账号：[20881021479480600156]\n门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）\n";
    assert_eq!(
        refusal(summary.as_bytes(), &asked_for(ALIPAY)).to_string(),
        "line 3: this is the summary by shops (汇总), which has no lines"
    );
    let bare = summary.split_once("\n#").unwrap().1.split_once('\n').unwrap().1;
    assert_eq!(
        refusal(bare.as_bytes(), &asked_for(ALIPAY)).to_string(),
        "line 1: this is the summary by shops (汇总), which has no lines"
    );
    let mut bad = file(ALIPAY);
    let at = bad.windows(9).position(|w| w == "会员卡".as_bytes()).unwrap();
    bad[at] = 0xff;
    assert_eq!(refusal(&bad, &asked_for(ALIPAY)).to_string(), "line 6: bytes that are no text in the file's charset");
    let mut bad = file("alipay_gbk.csv");
    let at = bad.windows(2).rposition(|w| w == [0xd6, 0xb5]).unwrap();
    bad[at + 1] = b' ';
    assert!(matches!(refusal(&bad, &asked_for(ALIPAY)), Refusal::Charset { line: 6.. }));
    says(WECHAT, "`充值", "`充\0值", "line 2: the control character 0x00");
    says(WECHAT, "`充值", "`充\r值", "line 2: the control character 0x0d");
}

#[test]
fn archives() {
    let bill = file(ALIPAY);
    let of = |content: &[u8]| refusal(content, &asked_for(ALIPAY)).to_string();
    let (detail, summary) =
        (File::new("业务明细.csv".as_bytes(), &bill), File::new("业务明细(汇总).csv".as_bytes(), b"#"));
    let both = zip(&[detail, summary]);
    assert!(read(&both, &asked_for(ALIPAY), &LIMITS).is_ok());
    let english = zip(&[File::new(b"1_DETAILS.csv", &bill), File::new(b"1_SUMMARY.csv", b"#"), File::new(b"a/", b"")]);
    assert!(read(&english, &asked_for(ALIPAY), &LIMITS).is_ok());
    let with_comment = [&both[..both.len() - 2], b"\x03\x00PK\x05"].concat();
    assert!(read(&with_comment, &asked_for(ALIPAY), &LIMITS).is_ok());

    assert_eq!(of(&zip(&[])), "the archive has no file with the lines of a bill");
    assert_eq!(
        of(&zip(&[File::new("汇总.csv".as_bytes(), &bill)])),
        "the archive has no file with the lines of a bill"
    );
    let two = zip(&[File::new(b"a.csv", &bill), File::new(b"b.csv", &bill)]);
    assert_eq!(of(&two), "the archive has several files that may be the bill: a.csv, b.csv");
    let nine: Vec<File<'_>> = (0..9).map(|_| File::new(b"a", b"")).collect();
    assert_eq!(of(&zip(&nine)), "the archive has 9 files, more than 8");
    for flags in [1, 1 << 6, 1 << 13] {
        assert_eq!(of(&zip(&[File { flags, ..File::new(b"a.csv", &bill) }])), "the archive is encrypted");
    }
    for inner in [zip(&[File::new(b"a.csv", &bill)]), gzip(&bill), zip(&[])] {
        assert_eq!(of(&gzip(&inner)), "there is an archive in the archive");
        assert_eq!(of(&zip(&[File::new(b"a.csv", &inner)])), "there is an archive in the archive");
    }
    let broken = |reason: &str| format!("the archive cannot be read: {reason}");
    let method = zip(&[File { method: 12, ..File::new(b"a.csv", &bill) }]);
    assert_eq!(of(&method), broken("its file is neither stored nor deflated"));
    let large = zip(&[File { says_length: Some(u32::MAX), ..File::new(b"a.csv", &bill) }]);
    assert_eq!(of(&large), broken("its file has 4 GB or more"));
    assert_eq!(of(&both[..both.len() - 1]), broken("it has no directory, so it is cut"));
    assert_eq!(of(b"PK\x03\x04"), broken("it has no directory, so it is cut"));
    let end = both.len() - 22;
    for (at, byte, reason) in [
        (end + 4, 1, "it is one of several pieces"),
        (end + 8, 1, "it is one of several pieces"),
        (end + 16, 0xff, "its directory is damaged"),
        (end - 70, 0, "its directory is damaged"),
        (end - 70 + 28, 9, "its directory is damaged"),
    ] {
        let mut bad = both.clone();
        bad[at] = byte;
        assert_eq!(of(&bad), broken(reason), "{at}");
    }
    let one = zip(&[File::new(b"a.csv", &bill)]);
    let mut bad = one.clone();
    let entry = one.len() - 22 - 46 - 5;
    bad[entry + 42] = 1;
    assert_eq!(of(&bad), broken("its file is not where the directory says"));
}

#[test]
fn what_is_packed_and_broken() {
    let bill = file(WECHAT);
    let of = |content: &[u8]| refusal(content, &asked_for(WECHAT));
    let unpacks = |content: &[u8], why: &str| match of(content) {
        Refusal::Damaged { reason, .. } => assert!(reason.contains(why), "{reason}"),
        other => panic!("{other}"),
    };
    for length in [-1i64, 1] {
        let says_length = Some((bill.len() as i64 + length) as u32);
        let why = if length < 0 { "longer than its archive says" } else { "shorter than its archive says" };
        unpacks(&zip(&[File { says_length, ..File::new(b"a.csv", &bill) }]), why);
        unpacks(&zip(&[File { says_length, method: 0, ..File::new(b"a.csv", &bill) }]), why);
    }
    let mut bad = zip(&[File { method: 0, ..File::new(b"a.csv", &bill) }]);
    let at = bad.windows(3).position(|w| w == b"NAT").unwrap();
    bad[at] = b'M';
    unpacks(&bad, "its checksum is another than its archive says");
    let packed = gzip(&bill);
    assert!(matches!(of(&packed[..packed.len() - 1]), Refusal::Damaged { line: 9, .. }));
    assert!(matches!(of(&packed[..packed.len() / 2]), Refusal::Damaged { .. }));
    assert!(matches!(of(&[&packed[..], b"more"].concat()), Refusal::Damaged { .. }));
    let mut bad = packed;
    *bad.last_mut().unwrap() ^= 1;
    assert!(matches!(of(&bad), Refusal::Damaged { .. }));
    assert!(matches!(of(b"\x1f\x8b"), Refusal::Damaged { line: 1, .. }));
    // The second member of two is as much a part of the file as the first.
    let two = [gzip(&bill[..100]), gzip(&bill[100..])].concat();
    assert!(read(&two, &asked_for(WECHAT), &LIMITS).is_ok());
    // Empty ones cost time and nothing else.
    unpacks(&gzip(b"").repeat(100_001), "it has more than 100000 members");
    let many = [gzip(b"").repeat(50_000), gzip(&bill)].concat();
    assert!(read(&many, &asked_for(WECHAT), &LIMITS).is_ok());
}

#[test]
fn limits() {
    let bill = file(WECHAT);
    let of = |content: &[u8], limits: &Limits| {
        read(content, &asked_for(WECHAT), limits).map(|_| ()).map_err(|e| e.to_string())
    };
    let length = bill.len() as u64;
    let longest =
        bill.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line).len()).max().unwrap_or(0);
    for content in [bill.clone(), gzip(&bill), zip(&[File::new(b"a.csv", &bill)])] {
        let limits = Limits { unzipped_bytes: length, line_bytes: longest };
        assert_eq!(of(&content, &limits), Ok(()));
        let limits = Limits { unzipped_bytes: length - 1, ..limits };
        assert_eq!(
            of(&content, &limits),
            Err(format!("the bill is larger than {} bytes when it is unzipped", length - 1))
        );
        let limits = Limits { unzipped_bytes: length, line_bytes: longest - 1 };
        assert_eq!(of(&content, &limits), Err(format!("line 1 is longer than {} bytes", longest - 1)));
    }
    // A bomb: 64 MB of blank lines in some kB, of which a megabyte is read.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let blank = vec![b'\n'; 1 << 20];
    (0..64).for_each(|_| std::io::Write::write_all(&mut encoder, &blank).unwrap());
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 1 << 17);
    assert_eq!(of(&bomb, &LIMITS), Err("the bill is larger than 1048576 bytes when it is unzipped".to_owned()));
}

/// One example of each; a refusal that joins fails here until it has one.
#[test]
fn every_refusal_is_reached() {
    let edited = |name: &str, from: &str, to: &str| {
        let content = text(name).replacen(from, to, 1);
        refusal(content.as_bytes(), &asked_for(name))
    };
    let bill = file(WECHAT);
    let of = |content: &[u8]| refusal(content, &asked_for(WECHAT));
    let too_large = Limits { unzipped_bytes: 10, line_bytes: 4096 };
    let of_another_day = Asked { day: Day::from_unix_days(i32::MAX), ..asked_for(WECHAT) };
    let csv = |name: &'static str| File::new(name.as_bytes(), b"");
    let encrypted = File { flags: 1, ..csv("a.csv") };
    let nine: Vec<File<'_>> = (0..9).map(|_| csv("a.csv")).collect();
    let line = text(WECHAT).lines().nth(1).unwrap().replace("6.51012", "-999999999999.99");
    let header = text(WECHAT).lines().next().unwrap().to_owned();
    let reached = [
        of(b""),
        read(&bill, &asked_for(WECHAT), &too_large).unwrap_err(),
        of(&[b'a'; 5000]),
        of(&gzip(&bill)[..40]),
        of(b"PK\x03\x04"),
        of(&zip(&[encrypted])),
        of(&zip(&nine)),
        of(&gzip(&gzip(&bill))),
        of(&zip(&[])),
        of(&zip(&[csv("a.csv"), csv("b.csv")])),
        of("门店,交易订单总笔数".as_bytes()),
        of(b"\xef\xbb\xbf\xff"),
        of(b"\0"),
        of(b"{\"code\":\"NO_STATEMENT_EXIST\"}"),
        of(b"<html>"),
        of(b"a,b"),
        refusal(&bill, &asked(alipay(), Kind::Trade)),
        refusal(&bill, &asked(common::wechat(), Kind::Fundflow)),
        edited(WECHAT, ",微信订单号", ","),
        edited(WECHAT, ",货币种类", ",商户号"),
        edited(WECHAT, "`2026", &format!("{}\n`2026", header.trim_start_matches('\u{feff}'))),
        edited(WECHAT, "`CNY,", ""),
        edited(WECHAT, "`CZ2611000000", "`"),
        edited(WECHAT, "`CZ2611000000", &format!("`{}", "1".repeat(257))),
        edited(WECHAT, "`1266.31", "`?"),
        edited(WECHAT, "`1266.31", "`-1266.31"),
        edited(WECHAT, "`2026-11-25 15", "`2026-11-25 25"),
        edited(WECHAT, "`CNY", "`HKD"),
        edited(FLOW, "`支出", "`"),
        refusal(&bill, &of_another_day),
        edited(WECHAT, "`1900000109", "`1900000108"),
        edited(WECHAT, "`1222.29", "`1222.29\n`1222.29"),
        edited(WECHAT, "`4910.76", "`4910.77"),
        of(format!("{header}\n{}", format!("{line}\n").repeat(93)).as_bytes()),
    ];
    let mut names: Vec<String> =
        reached.iter().map(|r| format!("{r:?}").split([' ', '{']).next().unwrap().to_owned()).collect();
    let cut = refusal(text(WECHAT).split("总交易单数").next().unwrap().as_bytes(), &asked_for(WECHAT));
    names.push(format!("{cut:?}").split(' ').next().unwrap().to_owned());
    names.sort();
    names.dedup();
    let source = include_str!("../refusal.rs");
    let body = source.split_once("pub enum Refusal {").unwrap().1.split_once("\n}").unwrap().0;
    let variants = body.lines().filter(|line| line.starts_with("    ") && line.as_bytes()[4].is_ascii_uppercase());
    let mut all: Vec<&str> = variants.map(|line| line.trim().split([' ', ',', '{']).next().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(names, all);
    assert!(reached.iter().all(|refusal| refusal.to_string().len() > 10));
}
