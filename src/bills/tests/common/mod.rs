//! What the tests of the crate share: the committed bills, whom they are of, and reading them.

// Each file of tests uses a part of it.
#![allow(dead_code)]

pub mod packing;

use mps_bills::{Account, Asked, Bill, Day, Direction, Entry, Kind, Limits, Line, Refusal, Stopped};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

pub const LIMITS: Limits = Limits { unzipped_bytes: 1 << 20, line_bytes: 4096 };

pub static APPIDS: LazyLock<Vec<String>> = LazyLock::new(|| vec!["wxd678efh567hg6787".to_owned()]);
pub static SUB_MCHIDS: LazyLock<Vec<String>> = LazyLock::new(|| vec!["1900000208".to_owned()]);
pub static SELLERS: LazyLock<Vec<String>> = LazyLock::new(|| vec!["2088102147948060".to_owned()]);

pub fn day() -> Day {
    Day::new(2026, 11, 25).unwrap()
}

pub fn wechat() -> Account<'static> {
    Account::Wechat { mchid: "1900000109", sub_mchids: None, appids: &APPIDS }
}

pub fn provider() -> Account<'static> {
    Account::Wechat { mchid: "1900000109", sub_mchids: Some(&SUB_MCHIDS), appids: &APPIDS }
}

pub fn alipay() -> Account<'static> {
    Account::Alipay { seller_ids: &SELLERS }
}

pub fn asked(account: Account<'static>, kind: Kind) -> Asked<'static> {
    Asked { kind, day: day(), account }
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bills")
}

pub fn file(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// How the committed file of that name is asked for, by the first words of its name.
pub fn asked_for(name: &str) -> Asked<'static> {
    let account = match name {
        "wechat_provider.csv" => provider(),
        _ if name.starts_with("wechat") => wechat(),
        _ => alipay(),
    };
    let is_flow = name.starts_with("wechat_flow") || name.starts_with("alipay_account");
    asked(account, if is_flow { Kind::Fundflow } else { Kind::Trade })
}

/// A line as `lines.tsv` writes it.
pub fn shown(line: &Line<'_>) -> String {
    let entry = match line.entry {
        Entry::Payment => "payment",
        Entry::Refund => "refund",
        Entry::Fee => "fee",
        Entry::Other => "other",
    };
    let flow = line.flow.map_or(String::new(), |flow| {
        let direction = if flow.direction == Direction::In { "in" } else { "out" };
        let balance = flow.balance.map_or(String::new(), |b| b.to_string());
        let amount = flow.amount.to_string();
        [flow.number, direction, &amount, &balance, flow.business_name, flow.business_type, flow.voucher].join("|")
    });
    let numbers =
        [line.order_amount, line.settled_amount, line.refund_amount, line.settled_refund].map(|n| n.to_string());
    let mut fields = vec![line.number.to_string(), entry.to_owned(), line.at.to_string()];
    let texts =
        [line.trade_no, line.order_no, line.refund_no, line.out_refund_no, line.state, line.refund_state, line.method];
    fields.extend(texts.map(str::to_owned));
    fields.extend(numbers);
    fields.push(line.fee.map_or("-".to_owned(), |fee| fee.to_string()));
    fields.extend([line.appid, line.mchid, line.sub_mchid, line.seller].map(str::to_owned));
    fields.push(flow);
    fields.join("\t")
}

/// Sums over lines that a test adds up itself, beside those that the bill says.
#[derive(Debug, Default, PartialEq)]
pub struct Added {
    pub lines: u64,
    /// Count and amount of payments, refunds, incoming, outgoing money.
    pub sides: [(u64, i128); 4],
    /// Settled amounts and fees of payments and of refunds.
    pub more: [(i128, i128); 2],
}

impl Added {
    pub fn line(&mut self, line: &Line<'_>) {
        self.lines += 1;
        let fee = i128::from(line.fee.unwrap_or(0));
        let side = match (&line.flow, line.entry) {
            (Some(flow), _) if flow.direction == Direction::In => (2, flow.amount),
            (Some(flow), _) => (3, flow.amount),
            (None, Entry::Payment) => {
                self.more[0] = (self.more[0].0 + i128::from(line.settled_amount), self.more[0].1 + fee);
                (0, line.order_amount)
            }
            (None, Entry::Refund) => {
                self.more[1] = (self.more[1].0 + i128::from(line.settled_refund), self.more[1].1 + fee);
                (1, line.refund_amount)
            }
            _ => return,
        };
        self.sides[side.0].0 += 1;
        self.sides[side.0].1 += i128::from(side.1);
    }

    pub fn of(bill: &Bill) -> Added {
        let sides = [bill.payments, bill.refunds, bill.incoming, bill.outgoing];
        let more = [bill.payments, bill.refunds].map(|s| (i128::from(s.settled), i128::from(s.fee)));
        Added { lines: bill.lines, sides: sides.map(|s| (s.count, i128::from(s.amount))), more }
    }
}

/// Reads a bill: what it says, and its lines as `lines.tsv` writes them. What the bill says of its lines is compared with them.
pub fn read(content: &[u8], asked: &Asked<'_>, limits: &Limits) -> Result<(Bill, Vec<String>), Refusal> {
    let (mut lines, mut added) = (Vec::new(), Added::default());
    let bill = mps_bills::read(content, asked, limits, |line| {
        lines.push(shown(line));
        added.line(line);
        Ok::<(), Infallible>(())
    });
    match bill {
        Ok(bill) => {
            assert_eq!(Added::of(&bill), added);
            Ok((bill, lines))
        }
        Err(Stopped::Refused(refusal)) => Err(refusal),
        Err(Stopped::BySink(never)) => match never {},
    }
}
