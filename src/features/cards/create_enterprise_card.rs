//! `app.create_enterprise_card`: a company's card, with its first admin if named.

use crate::engine::server;
use crate::engine::types::{NumericArg, Text, Uuid};
use crate::kernel::call::write;
use crate::kernel::{args, members};
use crate::ledger::cards;
use mps_domain::bucket::Bucket;
use mps_domain::error::{Error, Token, ensure};
use mps_domain::member::{BindRole, MemberStatus};
use mps_domain::money::{DISCOUNT_SCALE, Discount};
use pgrx::prelude::*;
use serde_json::json;

#[pg_extern(sql = false)]
fn create_enterprise_card(
    p_company_name: Option<Text>,
    p_fixed_discount: Option<NumericArg>,
    p_admin_member_id: Option<Uuid>,
) -> TableIterator<'static, (name!(card_id, Uuid), name!(card_no, String))> {
    let issued = write(|call| {
        call.caller.require_backend()?;
        let company = args::name(p_company_name, "p_company_name")?;
        let discount = args::required(p_fixed_discount, "p_fixed_discount")?
            .units(DISCOUNT_SCALE)
            .ok()
            .and_then(Discount::from_thousandths)
            .ok_or_else(|| {
                Error::new(
                    Token::InvalidArgument,
                    "p_fixed_discount is above 0, at most 1, with at most three decimals",
                )
            })?;
        if let Some(admin) = p_admin_member_id {
            let status = members::status(call.db, admin).ok_or(Token::MemberNotFound)?;
            ensure(status == MemberStatus::Active, Token::MemberNotActive)?;
        }
        call.open_month()?;
        let bucket = match p_admin_member_id {
            Some(admin) => Bucket::of_member(admin.as_bytes()),
            None => Bucket::of_byte(server::random::<1>()[0]),
        };
        let id = server::new_card_id(call.at, bucket);
        let card_no = cards::create_enterprise(call.db, call.at, id, company, discount);
        if let Some(admin) = p_admin_member_id {
            members::bind(call.db, call.at, id, admin, BindRole::Admin);
        }
        call.audit(
            "card.issued",
            "card",
            &card_no,
            json!({
                "card_id": id.to_string(),
                "company": company,
                "discount_thousandths": discount.thousandths(),
                "admin": p_admin_member_id.map(|m| m.to_string()),
            }),
        );
        Ok((id, card_no))
    });
    TableIterator::once(issued)
}
