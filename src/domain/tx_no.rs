//! Transaction numbers: `ZF2611000123` is the payment of row id 261100000000123, in the partition of November 2026.
//! The number and the id carry the same facts, so that a number finds its row by one probe of one primary key.
//!
//! The running number has up to 11 digits. One machine counts up to 35,000,000,000, through all months: a million transactions a
//! day for 95 years. From 36,000,000,001 on, by the month, are those of many machines: of eleven digits the first two, 36 to 99,
//! are the mark and 35 more than the bucket, and nine are the bucket's own running number of that month. So no number of one
//! machine looks like one of theirs, and the id stays below 2^53.

use crate::bucket::Bucket;
use crate::month::Month;
use crate::typed;

/// Room for the running number inside an id. Ids stay below 2^53, so that JavaScript reads them exactly.
const NUMBERS: i64 = 100_000_000_000;
/// Numbers are shown with at least this many digits.
const MIN_DIGITS: usize = 6;
const MAX_DIGITS: usize = 11;
/// How many numbers one machine gives. Well below those of many machines, so that it ends by itself and not in theirs.
pub const ONE_MACHINE: i64 = 35_000_000_000;
/// Room for the running number of one bucket in one month.
const OF_A_BUCKET: i64 = 1_000_000_000;
/// What the first two digits are more than the bucket that they carry.
const BUCKET_MARK: i64 = 35;
const _: () = assert!(ONE_MACHINE <= (BUCKET_MARK + 1) * OF_A_BUCKET);

/// What a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TxType {
    Payment,
    Refund,
    Recharge,
    Adjustment,
    Withdrawal,
}

impl TxType {
    pub const ALL: [TxType; 5] =
        [TxType::Payment, TxType::Refund, TxType::Recharge, TxType::Adjustment, TxType::Withdrawal];

    pub const fn prefix(self) -> &'static str {
        match self {
            TxType::Payment => "ZF",
            TxType::Refund => "TK",
            TxType::Recharge => "CZ",
            TxType::Adjustment => "TZ",
            TxType::Withdrawal => "TX",
        }
    }

    pub const fn label(self) -> &'static str {
        match self {
            TxType::Payment => "payment",
            TxType::Refund => "refund",
            TxType::Recharge => "recharge",
            TxType::Adjustment => "adjustment",
            TxType::Withdrawal => "withdrawal",
        }
    }

    pub fn from_label(label: &str) -> Option<TxType> {
        TxType::ALL.into_iter().find(|t| t.label() == label)
    }
}

/// `app.tx_status`: only a completed transaction has moved money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TxStatus {
    Processing,
    Completed,
    Failed,
    Cancelled,
}

impl TxStatus {
    pub const ALL: [TxStatus; 4] = [TxStatus::Processing, TxStatus::Completed, TxStatus::Failed, TxStatus::Cancelled];

    pub const fn label(self) -> &'static str {
        match self {
            TxStatus::Processing => "processing",
            TxStatus::Completed => "completed",
            TxStatus::Failed => "failed",
            TxStatus::Cancelled => "cancelled",
        }
    }

    pub fn from_label(label: &str) -> Option<TxStatus> {
        TxStatus::ALL.into_iter().find(|s| s.label() == label)
    }
}

/// `app.pay_method`: where the money came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayMethod {
    Balance,
    Cash,
    Wechat,
    Alipay,
}

impl PayMethod {
    pub const ALL: [PayMethod; 4] = [PayMethod::Balance, PayMethod::Cash, PayMethod::Wechat, PayMethod::Alipay];

    pub const fn label(self) -> &'static str {
        match self {
            PayMethod::Balance => "balance",
            PayMethod::Cash => "cash",
            PayMethod::Wechat => "wechat",
            PayMethod::Alipay => "alipay",
        }
    }

    pub fn from_label(label: &str) -> Option<PayMethod> {
        PayMethod::ALL.into_iter().find(|m| m.label() == label)
    }
}

/// The id of a transaction's row: month and running number in one integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(i64);

impl TxId {
    /// `None` once the running number has outgrown its 11 digits.
    pub fn new(month: Month, number: i64) -> Option<TxId> {
        (1..NUMBERS).contains(&number).then(|| TxId(i64::from(month.yymm()) * NUMBERS + number))
    }

    /// From a stored id; `None` if it names no month.
    pub fn from_raw(raw: i64) -> Option<TxId> {
        let month = u16::try_from(raw / NUMBERS).ok().and_then(Month::from_yymm)?;
        TxId::new(month, raw % NUMBERS)
    }

    pub const fn raw(self) -> i64 {
        self.0
    }

    pub fn month(self) -> Month {
        Month::from_yymm((self.0 / NUMBERS) as u16).expect("checked when made")
    }

    /// The lowest id a month can hold; the bound that `expire_keys` and the partitions' checks use.
    pub fn floor(month: Month) -> i64 {
        i64::from(month.yymm()) * NUMBERS
    }

    /// Whether it is one of those that one machine gives.
    pub fn is_of_one_machine(self) -> bool {
        self.0 % NUMBERS <= ONE_MACHINE
    }

    /// The bucket that it carries; `None` for one of one machine.
    pub fn bucket(self) -> Option<Bucket> {
        let number = self.0 % NUMBERS;
        let bucket = u8::try_from(number / OF_A_BUCKET - BUCKET_MARK).ok().and_then(Bucket::new);
        bucket.filter(|_| number % OF_A_BUCKET != 0)
    }

    pub fn number_for(self, tx_type: TxType) -> String {
        format!("{}{:04}{:06}", tx_type.prefix(), self.month().yymm(), self.0 % NUMBERS)
    }
}

/// Reads a transaction number; `None` for anything that MPS would not have written exactly so.
pub fn parse(text: &str) -> Option<(TxType, TxId)> {
    let tx_type = TxType::ALL.into_iter().find(|t| text.starts_with(t.prefix()))?;
    let digits = &text[2..];
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = digits.get(4..)?;
    if !(MIN_DIGITS..=MAX_DIGITS).contains(&number.len()) || (number.len() > MIN_DIGITS && number.starts_with('0')) {
        return None;
    }
    let month = Month::from_yymm(digits[..4].parse().ok()?)?;
    Some((tx_type, TxId::new(month, number.parse().ok()?)?))
}

/// As [`parse`], of a number that a person typed.
pub fn read(text: &str) -> Option<(TxType, TxId)> {
    parse(&typed::number(text))
}

/// The number of one of a withdrawal's refunds, `TX2611000123-1`.
pub fn refund_number(withdrawal: &str, nth: usize) -> String {
    format!("{withdrawal}-{nth}")
}

/// Reads one that a person typed, as [`refund_number`] would have written it.
pub fn read_refund(text: &str) -> Option<String> {
    let text = typed::number(text);
    let (withdrawal, nth) = text.rsplit_once('-')?;
    let (TxType::Withdrawal, _) = parse(withdrawal)? else { return None };
    let nth: u16 = nth.parse().ok()?;
    // No zero in front, no sign.
    Some(refund_number(withdrawal, nth.into())).filter(|number| nth > 0 && *number == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_are_those_of_the_tables() {
        assert_eq!(TxType::ALL.map(TxType::label), ["payment", "refund", "recharge", "adjustment", "withdrawal"]);
        assert_eq!(TxType::ALL.map(TxType::prefix), ["ZF", "TK", "CZ", "TZ", "TX"]);
        assert_eq!(TxType::ALL.map(|t| TxType::from_label(t.label())), TxType::ALL.map(Some));
        assert_eq!(TxStatus::ALL.map(TxStatus::label), ["processing", "completed", "failed", "cancelled"]);
        assert_eq!(TxStatus::ALL.map(|s| TxStatus::from_label(s.label())), TxStatus::ALL.map(Some));
        assert_eq!(PayMethod::ALL.map(PayMethod::label), ["balance", "cash", "wechat", "alipay"]);
        assert_eq!(PayMethod::ALL.map(|m| PayMethod::from_label(m.label())), PayMethod::ALL.map(Some));
        assert_eq!((TxType::from_label(""), TxStatus::from_label(""), PayMethod::from_label("")), (None, None, None));
    }

    #[test]
    fn the_contract_example() {
        let (tx_type, id) = parse("ZF2611000123").unwrap();
        assert_eq!(tx_type, TxType::Payment);
        assert_eq!(id.raw(), 261_100_000_000_123);
        assert_eq!(id.month(), Month::from_yymm(2611).unwrap());
        assert_eq!(id.number_for(TxType::Payment), "ZF2611000123");
    }

    #[test]
    fn refuses_what_it_did_not_write() {
        for bad in [
            "",
            "ZF",
            "ZF000123",
            "XX2611000123",
            "ZF2613000123",
            "ZF261100012",
            "ZF26110000123",
            "ZF2611000000",
            "ZF2611000123 ",
            "ZF2611-00123",
            "zf2611000123",
            "ZF2611１２３４５６",
            "ZF2611999999999999",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn reads_what_people_type() {
        for typed in ["zf2611000123", " ZF2611000123\r\n", "ｚｆ２６１１０００１２３", "\u{3000}zF2611000123\u{a0}"]
        {
            assert_eq!(read(typed), parse("ZF2611000123"), "{typed:?}");
        }
        // Leading zeros are part of it, white space inside is not skipped.
        for bad in ["zf26110000123", "zf261100123", "ZF 2611000123", "ZF2611 000123", ""] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn reads_refund_numbers() {
        assert_eq!(refund_number("TX2611000123", 12), "TX2611000123-12");
        for typed in ["tx2611000123-12", " TX2611000123-12\n", "ＴＸ2611000123－12"] {
            assert_eq!(read_refund(typed).as_deref(), Some("TX2611000123-12"), "{typed:?}");
        }
        for bad in ["", "-", "TX2611000123", "TX2611000123-", "TX2611000123-0", "TX2611000123-01", "TX2611000123-+1"] {
            assert_eq!(read_refund(bad), None, "{bad:?}");
        }
        for bad in ["ZF2611000123-1", "TX2611000123-65536", "TX2613000123-1", "TX2611000123--1", "TX2611000123-1-1"] {
            assert_eq!(read_refund(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn no_number_of_one_machine_looks_like_one_of_many() {
        let id = |number| TxId::new(Month::from_yymm(2611).unwrap(), number).unwrap();
        for number in [1, 123, 999_999_999, ONE_MACHINE] {
            assert_eq!((id(number).bucket(), id(number).is_of_one_machine()), (None, true), "{number}");
        }
        for number in [ONE_MACHINE + 1, 35_999_999_999, 36_000_000_000] {
            assert_eq!((id(number).bucket(), id(number).is_of_one_machine()), (None, false), "{number}");
        }
        for bucket in 1..=64 {
            for serial in [1, 999_999_999] {
                let id = id((i64::from(bucket) + 35) * 1_000_000_000 + serial);
                assert_eq!((id.bucket(), id.is_of_one_machine()), (Bucket::new(bucket), false));
                assert!(id.raw() < 1 << 53);
                assert_eq!(parse(&id.number_for(TxType::Payment)), Some((TxType::Payment, id)));
            }
        }
    }

    #[test]
    fn ids_fit_a_javascript_number() {
        let last = TxId::new(Month::from_yymm(9912).unwrap(), NUMBERS - 1).unwrap();
        assert!(last.raw() < 1 << 53);
        let november = Month::from_yymm(2611).unwrap();
        assert_eq!(TxId::new(november, NUMBERS), None);
        assert_eq!(TxId::floor(november), 261_100_000_000_000);
    }

    proptest! {
        #[test]
        fn round_trips(year in 0u16..=99, month in 1u16..=12, number in 1i64..NUMBERS, kind in 0usize..5) {
            let id = TxId::new(Month::from_yymm(year * 100 + month).unwrap(), number).unwrap();
            let text = id.number_for(TxType::ALL[kind]);
            prop_assert_eq!(parse(&text), Some((TxType::ALL[kind], id)));
            prop_assert_eq!(TxId::from_raw(id.raw()), Some(id));
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_parses_prints_the_same(text in "(ZF|TK|CZ|TZ|TX)[0-9]{8,16}") {
            if let Some((tx_type, id)) = parse(&text) {
                prop_assert_eq!(id.number_for(tx_type), text);
            }
        }
    }
}
