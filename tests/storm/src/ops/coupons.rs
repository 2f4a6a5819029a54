//! Coupons: issued, claimed, taken back, paused, with a budget that grows while it is spent.

use super::{CHARGE, Client, at_once, enter, money};
use crate::db::Who;
use crate::model::{COUPONS, Right};
use crate::request::What;
use crate::world::pool;

/// A backend gives a member some, or the member claims one.
pub fn get(client: &mut Client) {
    const ISSUE: &str = "SELECT coupon_code FROM app.issue_coupon($1, $2, $3, $4)";
    const CLAIM: &str = "SELECT coupon_code FROM app.claim_coupon($1, $2)";
    let coupon = client.below(COUPONS.len());
    let account = client.any_account();
    let member = account.1.members[client.below(account.1.members.len())];
    let (code, key) = (COUPONS[coupon].code, client.name("coupon"));
    let read = |rows: &[postgres::Row]| rows.iter().map(|row| row.get(0)).collect::<Vec<String>>();
    let (asked, allowed) = if client.chance(50) {
        let count = 1 + client.below(3) as i32;
        let asked = client.a.ask(Who::Backend, ISSUE, &[&code, &member, &count, &key], read);
        (asked, ["COUPON_LIMIT", "STATUS_CONFLICT"])
    } else {
        (client.a.ask(Who::User(member), CLAIM, &[&code, &key], read), ["COUPON_LIMIT", "COUPON_NOT_FOUND"])
    };
    let Some((numbers, _)) = client.expect("coupons", asked, &allowed) else { return };
    for number in numbers {
        client.world.books().rights.insert(number.clone(), (coupon, member));
        pool(&client.world.rights, Right { number, member });
    }
}

/// One of a member's, used already or not.
pub fn of_member(client: &mut Client, member: uuid::Uuid) -> Option<String> {
    let pick = client.below(1_000);
    let rights = client.world.rights.lock().expect("not poisoned");
    let own: Vec<&Right> = rights.iter().filter(|right| right.member == member).collect();
    (!own.is_empty()).then(|| own[pick % own.len()].number.clone())
}

/// One that a member has is taken back.
pub fn revoke(client: &mut Client) {
    let pick = client.below(1_000);
    let number = {
        let rights = client.world.rights.lock().expect("not poisoned");
        if rights.is_empty() {
            return;
        }
        rights[pick % rights.len()].number.clone()
    };
    let sql = "SELECT app.revoke_coupon($1, 'storm')";
    let asked = client.a.ask(Who::Backend, sql, &[&number], |rows| rows[0].get::<_, bool>(0));
    if client.expect("revoke coupon", asked, &["STATUS_CONFLICT"]).is_some() {
        client.world.books().revoked.insert(number);
    }
}

/// One kind is paused for a moment.
pub fn pause(client: &mut Client) {
    let code = COUPONS[client.below(COUPONS.len())].code;
    let turn = client.world.pausing.lock().expect("not poisoned");
    for status in ["paused", "active"] {
        let sql = "SELECT status FROM app.set_coupon_status($1, $2, 'storm')";
        let asked = client.a.ask(Who::Backend, sql, &[&code, &status], |rows| rows[0].get::<_, String>(0));
        client.expect("pause coupon", asked, &[]);
    }
    drop(turn);
}

/// A budget that is being spent grows.
pub fn more_budget(client: &mut Client) {
    let Some((coupon, _)) = COUPONS.iter().enumerate().find(|(_, coupon)| coupon.budget.is_some()) else { return };
    let mut budget = client.world.budget.lock().expect("not poisoned");
    let more = *budget + 100 + client.below(1_000) as i64;
    let terms = format!("{{\"budget_amount\": {}}}", crate::model::money(more));
    let sql = "SELECT terms_version FROM app.update_coupon($1, $2::text::jsonb)";
    let asked = client.a.ask(Who::Backend, sql, &[&COUPONS[coupon].code, &terms], |rows| rows[0].get::<_, i32>(0));
    if client.expect("budget", asked, &[]).is_some() {
        *budget = more;
    }
}

/// Two tills are shown the same coupon, each with a code of another card of the member's.
pub fn one_coupon_twice(client: &mut Client) {
    let n = client.below(1_000);
    let account = client.world.hot_enterprise(n);
    let Some(first) = money::plan_charge(client, account.clone()) else { return };
    let What::Charge { code, .. } = &first.what else { unreachable!() };
    let member = code.member;
    let Some(number) = of_member(client, member) else { return };
    let other = client.world.cold_enterprise(n);
    let other = if other.1.members.contains(&member) { other } else { account };
    let Some(second) = money::plan_charge(client, other) else { return };
    let mut requests = [first, second];
    for request in &mut requests {
        let What::Charge { coupon, .. } = &mut request.what else { unreachable!() };
        *coupon = Some(number.clone());
        request.key = Some(client.name("coupon"));
    }
    let world = client.world;
    let [first, second] = &requests;
    let (one, two) = at_once(&mut client.a, &mut client.b, |a| first.send(world, a), |b| second.send(world, b));
    let mut allowed = money::CONTESTED.to_vec();
    // The second one's code may be another member's, who has no such coupon.
    allowed.extend(["MERCHANT_INACTIVE", "COUPON_NOT_FOUND"]);
    enter(world, CHARGE, first, one, &allowed);
    enter(world, CHARGE, second, two, &allowed);
}
