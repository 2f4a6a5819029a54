//! The files in which gateways say what they did in a day, as the shop downloads them.

use super::{APPID, MCHID, SELLER_ID};
use std::fmt::Write as _;

/// A payment, or a refund of one.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// `hh:mm:ss` in Shanghai.
    pub time: &'a str,
    pub trade: &'a str,
    pub order: &'a str,
    pub fen: i64,
    /// The refund's number that the shop had sent, and how it stands.
    pub refund: Option<(&'a str, &'a str)>,
    /// In hundred-thousandths of a yuan.
    pub fee: i64,
}

impl<'a> Line<'a> {
    pub fn payment(trade: &'a str, order: &'a str, fen: i64) -> Line<'a> {
        Line { time: "10:34:56", trade, order, fen, refund: None, fee: 0 }
    }

    pub fn refund(trade: &'a str, order: &'a str, fen: i64, number: &'a str) -> Line<'a> {
        Line { refund: Some((number, "SUCCESS")), ..Line::payment(trade, order, fen) }
    }
}

fn yuan(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", fen.abs() / 100, fen.abs() % 100)
}

fn units(fee: i64) -> String {
    let sign = if fee < 0 { "-" } else { "" };
    format!("{sign}{}.{:05}", fee.abs() / 100_000, fee.abs() % 100_000)
}

/// To the cent, as a gateway adds up fees: a half goes away from zero.
fn rounded(fee: i64) -> i64 {
    (fee.abs() + 500) / 1000 * fee.signum()
}

/// WeChat's trade bill of a day (`2026-11-26`), with all its states.
pub fn wechat(day: &str, lines: &[Line<'_>]) -> Vec<u8> {
    let mut text = String::from(
        "\u{feff}交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,\
         代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注\r\n",
    );
    let (mut paid, mut refunded, mut fees) = (0, 0, 0);
    for (n, line) in lines.iter().enumerate() {
        let (is_refund, number, state) = line.refund.map_or((false, "0", ""), |(no, state)| (true, no, state));
        let (order, refund) = if is_refund { (0, line.fen) } else { (line.fen, 0) };
        (paid, refunded, fees) = (paid + order, refunded + refund, fees + line.fee);
        let refund_id = if is_refund { format!("5030000{n:020}") } else { "0".to_owned() };
        let cells = [
            format!("{day} {}", line.time),
            APPID.into(),
            MCHID.into(),
            "0".into(),
            String::new(),
            line.trade.into(),
            line.order.into(),
            "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o".into(),
            "JSAPI".into(),
            if is_refund { "REFUND" } else { "SUCCESS" }.into(),
            "OTHERS".into(),
            "CNY".into(),
            yuan(order),
            yuan(0),
            refund_id,
            number.into(),
            yuan(refund),
            yuan(0),
            if is_refund { "ORIGINAL" } else { "" }.into(),
            state.into(),
            "储值".into(),
            String::new(),
            units(line.fee),
            "0.60%".into(),
            yuan(order),
            yuan(refund),
            String::new(),
        ];
        let _ = write!(text, "`{}\r\n", cells.join(",`"));
    }
    let _ = write!(
        text,
        "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额\r\n\
         `{}.0,`{},`{},`0.00,`{},`{},`{}\r\n",
        lines.len(),
        yuan(paid),
        yuan(refunded),
        yuan(rounded(fees)),
        yuan(paid),
        yuan(refunded)
    );
    text.into_bytes()
}

/// Alipay's bill of a day (`2026-11-26`), in UTF-8.
pub fn alipay(day: &str, lines: &[Line<'_>]) -> Vec<u8> {
    let shown: Vec<&str> = day.split('-').collect();
    let mut text = format!(
        "#支付宝业务明细查询\r\n#账号：[{SELLER_ID}0156]\r\n#起始日期：[{0}年{1}月{2}日 00:00:00]   终止日期：[{0}年{1}月{2}日 23:59:59]\r\n\
         #-----------------------------------------业务明细列表----------------------------------------\r\n\
         支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,\
         支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,\
         服务费（元）,分润（元）,备注\r\n",
        shown[0], shown[1], shown[2]
    );
    let (mut paid, mut refunded) = ((0, 0), (0, 0));
    for line in lines {
        let (business, amount, number) = match line.refund {
            Some((number, _)) => ("退款", -line.fen, number),
            None => ("交易", line.fen, ""),
        };
        let side = if line.refund.is_some() { &mut refunded } else { &mut paid };
        *side = (side.0 + 1, side.1 + amount);
        let _ = write!(
            text,
            "{trade}\t,{order}\t,{business}\t,储值,{day} {time},{day} {time},\t,\t,\t,\t,*津\t,{amount},{amount},0.00,0.00,0.00,0.00,0.00,,\
             0.00,0.00,{number}\t,{fee},0.00,\r\n",
            trade = line.trade,
            order = line.order,
            time = line.time,
            amount = yuan(amount),
            fee = units(-line.fee),
        );
    }
    let _ = write!(
        text,
        "#-----------------------------------------业务明细列表结束------------------------------------\r\n\
         #交易合计：{}笔，商家实收共{}元，商家优惠共0.00元\r\n#退款合计：{}笔，商家实收退款共{}元，商家优惠退款共0.00元\r\n\
         #导出时间：[{} 00:00:00]\r\n",
        paid.0,
        yuan(paid.1),
        refunded.0,
        yuan(refunded.1),
        day
    );
    text.into_bytes()
}

/// The call that a backend makes with a file.
pub fn import(account: &str, day: &str, kind: &str, content: &[u8]) -> String {
    let content = data_encoding::HEXLOWER.encode(content);
    format!("select * from app.import_bill('{account}', '{day}', '{kind}', '\\x{content}')")
}
