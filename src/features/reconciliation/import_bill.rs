//! `app.import_bill`: a gateway's own file of a day, whole or not at all.

use super::bills::{self, Current, Read, kind_label};
use super::{days, hold, shown};
use crate::engine::server;
use crate::engine::types::{Day, NumericOut, Text};
use crate::features::gateways::Parties;
use crate::kernel::args;
use crate::kernel::call::{Call, write};
use mps_bills::{Account, Asked, Kind, Limits, Refusal, Side, Stopped};
use mps_domain::error::{Error, Result, Token};
use pgrx::prelude::*;
use serde_json::json;
use sha2::{Digest, Sha256};

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn import_bill(
    p_account: Option<Text>,
    p_bill_date: Option<Day>,
    p_kind: Option<Text>,
    p_content: Option<&[u8]>,
) -> TableIterator<
    'static,
    (
        name!(bill_id, i64),
        name!(lines, i64),
        name!(payments, i64),
        name!(payment_total, NumericOut),
        name!(refunds, i64),
        name!(refund_total, NumericOut),
        name!(fee_total, NumericOut),
        name!(replaced, bool),
        name!(replayed, bool),
        name!(warnings, Vec<String>),
    ),
> {
    let row = write(|call| {
        call.caller.require_backend()?;
        let kind = match args::label(p_kind, "p_kind")? {
            "trade" => Kind::Trade,
            "fundflow" => Kind::Fundflow,
            _ => return Err(Error::new(Token::InvalidArgument, "p_kind is trade or fundflow")),
        };
        let content = args::required(p_content, "p_content")?;
        import(call, p_account, p_bill_date, kind, content)
    });
    TableIterator::once(row)
}

type Row = (i64, i64, i64, NumericOut, i64, NumericOut, NumericOut, bool, bool, Vec<String>);

fn import(call: &Call, account: Option<Text>, day: Option<Day>, kind: Kind, content: &[u8]) -> Result<Row> {
    let held = hold(call, account, day)?;
    let before = bills::current(call.db, held.code, held.day, kind_label(kind));
    let sha256 = Sha256::digest(content);
    if let Some(same) = before.as_ref().filter(|bill| bill.sha256 == sha256[..]) {
        return Ok(answer_again(same));
    }
    let mut read = Read {
        id: bills::next_id(call.db),
        account: held.code,
        day: held.day,
        kind,
        sha256: &sha256,
        content,
        lines: 0,
        payments: Side::default(),
        refunds: Side::default(),
        incoming: Side::default(),
        outgoing: Side::default(),
        warnings: Vec::new(),
    };
    let asked = Asked { kind, day: shown(held.day), account: whose(&held.account.config.parties) };
    let bill = mps_bills::read(content, &asked, &Limits::default(), |line| {
        server::check_for_interrupts();
        if kind == Kind::Trade { bills::keep_line(call.db, read.id, line) } else { Ok(()) }
    });
    match bill {
        Ok(bill) => read.says(bill),
        Err(Stopped::BySink(error)) => return Err(error),
        // Of a day that is over, that is the gateway's word that nothing was.
        Err(Stopped::Refused(Refusal::NoStatement)) if is_over(call, held.day) => {
            read.warnings = vec![Refusal::NoStatement.to_string()];
        }
        Err(Stopped::Refused(why)) => return Err(Error::new(Token::BillInvalid, why.to_string())),
    }
    read.keep(call.db, call.at, before.as_ref().map(|bill| bill.id));
    if kind == Kind::Trade {
        days::has_new_bill(call, held.code, held.day)?;
    }
    let (payments, refunds) = (read.payments, read.refunds);
    let context = json!({
        "account": held.code, "bill_date": shown(held.day).to_string(), "kind": kind_label(kind),
        "sha256": hex::encode(sha256), "lines": read.lines, "payments": payments.count,
        "payment_total": mps_bills::Yuan::from_fen(payments.amount).to_string(), "refunds": refunds.count,
        "refund_total": mps_bills::Yuan::from_fen(refunds.amount).to_string(), "replaced": before.as_ref().map(|b| b.id),
    });
    call.audit("gateway.bill_imported", "gateway_bill", &read.id.to_string(), context);
    let counts = (payments.count as i64, refunds.count as i64);
    let (fees, lines) = (read.fees().into(), read.lines as i64);
    let totals = (read.payment_total(), read.refund_total());
    Ok((read.id, lines, counts.0, totals.0, counts.1, totals.1, fees, before.is_some(), false, read.warnings))
}

fn answer_again(bill: &Current) -> Row {
    let (payments, refunds) = (bill.payment_total.into(), bill.refund_total.into());
    let fees = bill.fee_total.into();
    (bill.id, bill.lines, bill.payments, payments, bill.refunds, refunds, fees, false, true, bill.warnings.clone())
}

/// Whether the gateway's day has ended.
fn is_over(call: &Call, day: Day) -> bool {
    mps_bills::Day::of(call.at.unix_micros()) > shown(day)
}

/// Whose bills an account has.
fn whose(parties: &Parties) -> Account<'_> {
    match parties {
        Parties::WechatMerchant { mchid, appids } => Account::Wechat { mchid, sub_mchids: None, appids },
        Parties::WechatProvider { sp_mchid, sub_mchids, sp_appids } => Account::Wechat {
            mchid: sp_mchid,
            sub_mchids: Some(sub_mchids),
            appids: sp_appids.as_deref().unwrap_or_default(),
        },
        Parties::Alipay { seller_ids, .. } => Account::Alipay { seller_ids },
    }
}
