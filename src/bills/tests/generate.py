#!/usr/bin/env python3
"""Bills of every form, and what stands in each of their lines: a second implementation, which shares nothing with the reader.

    src/bills/tests/generate.py          writes src/bills/tests/bills/

Standard library only. The same files each time; they are committed, so that a test needs no Python.
"""
import gzip
import io
import random
import zipfile
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).resolve().parent / "bills"
SHANGHAI = timezone(timedelta(hours=8))
DAY = datetime(2026, 11, 25, tzinfo=SHANGHAI)
NEXT = DAY + timedelta(days=1)
MCHID, APPID, SUB, SELLER = "1900000109", "wxd678efh567hg6787", "1900000208", "2088102147948060"
ENTRIES = {"SUCCESS": "payment", "REFUND": "refund", "REVOKED": "refund", "交易": "payment", "退款": "refund"}

TIME, REFUNDED = "交易时间", ["退款申请时间", "退款成功时间"]
ALL = ("交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,"
       "微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注").split(",")
OF_REFUNDS = "微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,申请退款金额".split(",")
TOTALS = {"总交易单数": None, "应结订单总金额": "应结订单金额", "退款总金额": "退款金额", "充值券退款总金额": "充值券退款金额",
          "手续费总金额": "手续费", "订单总金额": "订单金额", "申请退款总金额": "申请退款金额"}
OLD = {"应结订单金额": "总金额", "代金券金额": "企业红包金额", "充值券退款金额": "企业红包退款金额", "特约商户号": "子商户号",
       "应结订单总金额": "总交易额", "退款总金额": "总退款金额", "充值券退款总金额": "总企业红包退款金额"}
FLOW = "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,业务凭证号".split(",")
TRADE = ("支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,订单金额（元）,商家实收（元）,"
         "支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,"
         "服务费（元）,分润（元）,备注").split(",")
ACCOUNT = "账务流水号,业务流水号,商户订单号,商品名称,发生时间,对方账号,收入金额（+元）,支出金额（-元）,账户余额（元）,交易渠道,业务类型,备注".split(",")

chance = random.Random(20261125)
bills, expected = [], []


def yuan(fen, decimals=2):
    return f"{Decimal(fen) / 100:.{decimals}f}"


def when(second):
    return DAY + timedelta(seconds=second)


def text(moment):
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def micros(moment):
    return int(moment.timestamp()) * 1_000_000


def note(file, number, entry, at, flow="", **said):
    """A line as the reader should give it; `said` is what is not empty or zero."""
    names = "trade_no order_no refund_no out_refund_no state refund_state method".split()
    amounts = "order_amount settled_amount refund_amount settled_refund".split()
    expected.append("\t".join(
        [file, str(number), entry, str(micros(at))] + [said.get(n, "") for n in names] + [str(said.get(n, 0)) for n in amounts]
        + [str(said.get("fee", "-"))] + [said.get(n, "") for n in ["appid", "mchid", "sub_mchid", "seller"]] + [flow]))


def keep(file, content, gateway, kind, lines, charset="utf8", packed="plain", warnings=0):
    (HERE / file).write_bytes(content)
    bills.append("\t".join(map(str, [file, gateway, kind, packed, charset, lines, warnings])))


def wechat_lines(states, sub):
    rows = []
    for i, state in enumerate(states):
        paid = chance.randint(1, 500_000)
        coupon = chance.randint(0, paid // 3)
        back = 0 if state == "SUCCESS" else chance.randint(1, paid)
        fee = Decimal(paid - coupon if state == "SUCCESS" else -back) * Decimal("0.0000600")
        at = when(chance.choice([0, 86_399, chance.randint(1, 86_398)]))
        order = {True: paid, False: 0}[state == "SUCCESS"]
        rows.append({
            "at": at, "交易时间": text(at), "公众账号ID": APPID, "商户号": MCHID, "特约商户号": sub, "设备号": "",
            "微信订单号": f"42000026112511{i:012}", "商户订单号": f"CZ2611{i:06}", "用户标识": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
            "交易类型": chance.choice(["JSAPI", "NATIVE", "MICROPAY"]), "交易状态": state, "付款银行": "OTHERS", "货币种类": "CNY",
            "应结订单金额": yuan(order - coupon if order else 0), "代金券金额": yuan(coupon if order else 0),
            "微信退款单号": f"5030000611{i:018}" if back and state == "REFUND" else "0",
            "商户退款单号": f"TX2611{i:06}-1" if back and state == "REFUND" else "0",
            "退款金额": yuan(back - back // 10), "充值券退款金额": yuan(back // 10), "退款类型": "ORIGINAL" if back else "",
            "退款状态": chance.choice(["SUCCESS", "PROCESSING"]) if state == "REFUND" else "",
            "商品名称": chance.choice(["储值卡充值", "充值\\ 赠送", "礼品, 大份", "𠮷野家会员", ""]), "商户数据包": chance.choice(["", "a=1\\ b=2"]),
            "手续费": f"{fee:.5f}", "费率": "0.60%", "订单金额": yuan(order), "申请退款金额": yuan(back), "费率备注": "",
            "退款申请时间": text(at), "退款成功时间": text(at + timedelta(seconds=2)),
            "order": order, "settled": order - coupon if order else 0, "back": back, "net_back": back - back // 10,
            "fee": int(fee * 100_000)})
    return rows


def wechat(file, states=("SUCCESS", "REFUND", "SUCCESS", "REVOKED", "SUCCESS"), columns=None, names=None, mark="`", ending="\r\n", bom=True,
           sub="0", pack=lambda content: content, packed="plain", short_counts=False):
    columns, names = columns or ALL, names or {}
    rows = wechat_lines(states, sub)
    if not mark:
        for row in rows:
            row["商品名称"] = row["商品名称"].replace(",", "")
    lines = [",".join(names.get(c, c) for c in columns)]
    for number, row in enumerate(rows, 2):
        if "退款申请时间" in columns:
            row["交易时间"] = text(row["at"] - timedelta(days=3))
        lines.append(",".join(mark + row.get(c, "预留") for c in columns))
        has = lambda column: column in columns
        pick = lambda amount, column, other, otherwise: amount if has(column) else otherwise if has(other) else 0
        said = dict(order_amount=pick(row["order"], "订单金额", "应结订单金额", row["settled"]),
                    settled_amount=pick(row["settled"], "应结订单金额", "订单金额", row["order"]),
                    refund_amount=pick(row["back"], "申请退款金额", "退款金额", row["net_back"]),
                    settled_refund=pick(row["net_back"], "退款金额", "申请退款金额", row["back"]))
        number_of = lambda column: row[column] if has(column) and row[column] != "0" else ""
        note(file, number, ENTRIES[row["交易状态"]], row["at"], trade_no=row["微信订单号"], order_no=row["商户订单号"],
             refund_no=number_of("微信退款单号"), out_refund_no=number_of("商户退款单号"), state=row["交易状态"],
             refund_state=row["退款状态"] if has("退款状态") else "", method=row["交易类型"], fee=row["fee"], appid=APPID, mchid=MCHID,
             sub_mchid="" if sub == "0" else sub, **said)
    totals = [t for t, column in TOTALS.items() if column is None or column in columns]
    lines.append(",".join(names.get(t, t) for t in totals))
    sums = []
    for total in totals:
        column = TOTALS[total]
        amounts = [Decimal(row[column]) for row in rows] if column else []
        sums.append(f"{sum(amounts, Decimal(0)):.2f}" if column else f"{len(rows)}.0" if short_counts else str(len(rows)))
    lines.append(",".join(mark + s for s in sums))
    content = (ending.join(lines) + ending).encode("utf-8-sig" if bom else "utf-8")
    keep(file, pack(content), "wechat", "trade", len(rows), packed=packed)


def members(content):
    """Several gzip members that are one file, cut within a line."""
    third = len(content) // 3
    parts = [content[:third], content[third:third], content[third:2 * third], content[2 * third:]]
    return b"".join(gzip.compress(part, mtime=0) for part in parts)


def wechat_flow(file, count, wide=False, pack=lambda content: content, packed="plain"):
    lines = [",".join(c.replace("(", "（").replace(")", "）") if wide else c for c in FLOW)]
    balance, sides = 1_000_000, {"收入": [0, 0], "支出": [0, 0]}
    types = {"交易": ("payment", "收入"), "退款": ("refund", "支出"), "扣除交易手续费": ("fee", "支出"), "提现": ("other", "支出")}
    for i in range(count):
        business, amount, at = chance.choice(list(types)), chance.randint(1, 90_000), when(chance.randint(0, 86_399))
        entry, side = types[business]
        balance += amount if side == "收入" else -amount
        sides[side] = [sides[side][0] + 1, sides[side][1] + amount]
        trade, flow, voucher = f"4200002611250000{i:012}", f"1000039801{i:08}", f"CZ2611{i:06}"
        fields = [text(at), trade, flow, business, business, side, yuan(amount), yuan(balance), "system", "结算,含手续费", voucher]
        lines.append(",".join("`" + f for f in fields))
        direction = "in" if side == "收入" else "out"
        note(file, i + 2, entry, at, trade_no=trade,
             flow="|".join([flow, direction, str(amount), str(balance), business, business, voucher]))
    lines.append("资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额")
    (n, x), (m, y) = sides["收入"], sides["支出"]
    lines.append(",".join("`" + f for f in [f"{count}.0", f"{n}.0", yuan(x), f"{m}.0", yuan(y)]))
    keep(file, pack(("\r\n".join(lines) + "\r\n").encode("utf-8-sig")), "wechat", "fundflow", count, packed=packed)


def alipay_frame(title, lines, totals, account=SELLER + "0156"):
    stamp = lambda moment: moment.strftime("%Y年%m月%d日 %H:%M:%S")
    return ([f"#支付宝{title}查询", f"#账号：[{account}]", f"#起始日期：[{stamp(DAY)}]   终止日期：[{stamp(NEXT)}]",
             f"#-----------------------------------------{title}列表----------------------------------------"] + lines
            + [f"#-----------------------------------------{title}列表结束------------------------------------"] + totals
            + [f"#导出时间：[{stamp(NEXT)}]"])


def alipay_zip(content, name="业务", utf8=False, method=zipfile.ZIP_DEFLATED):
    """Python marks names that are not ASCII as UTF-8; the gateway writes GBK and no mark."""
    detail, summary = f"{SELLER}0156_20261125_{name}明细.csv", f"{SELLER}0156_20261125_{name}明细(汇总).csv"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for file, what in [(summary, "#支付宝业务汇总查询\r\n".encode("gb18030")), (detail, content)]:
            plain = file if utf8 else "x" * len(file.encode("gb18030"))
            archive.writestr(zipfile.ZipInfo(plain if utf8 else plain[:-1] + ("s" if file is summary else "d")), what, method)
    packed = out.getvalue()
    if not utf8:
        for file, end in [(summary, "s"), (detail, "d")]:
            name = file.encode("gb18030")
            packed = packed.replace(b"x" * (len(name) - 1) + end.encode(), name)
    return packed


def alipay_trade(file, count, encoding="gb18030", columns=TRADE, ending="\r\n", pack=lambda content: content, packed="plain", totals=None,
                 warnings=0, fee_sign=-1):
    lines, sums = [",".join(columns)], {"交易": [0, 0, 0], "退款": [0, 0, 0]}
    for i in range(count):
        business = "退款" if i % 3 == 1 else "交易"
        sign = -1 if business == "退款" else 1
        paid = chance.randint(1, 300_000)
        off = chance.randint(0, paid // 4)
        at = when(chance.choice([0, 86_399, chance.randint(1, 86_398)]))
        fee = chance.randint(0, 900)
        batch = f"TX2611{i:06}-1" if sign < 0 else ""
        trade, order = f"20261125220014{i:014}", f"CZ2611{i:06}"
        goods = chance.choice(["储值卡充值", "会员卡", "𠮷野家", "礼品 大份"]) if encoding != "gbk" else "储值卡充值"
        fields = {
            "支付宝交易号": trade + "\t", "商户订单号": order + "\t", "业务类型": business + "\t", "商品名称": goods,
            "创建时间": text(at - timedelta(seconds=90)), "完成时间": text(at), "门店编号": "\t", "门店名称": "\t", "操作员": "\t", "终端号": "\t",
            "对方账户": "*津(602***@qq.com)\t", "订单金额": yuan(sign * paid), "商家实收": yuan(sign * (paid - off)),
            "商家优惠": yuan(sign * off), "退款批次号/请求号": batch + "\t", "服务费": yuan(-sign * -fee_sign * fee), "备注": ""}
        plain = lambda column: column.split("（")[0].split("(")[0]
        lines.append(",".join(fields.get(plain(c), "" if c in ("券名称", "备注") else "0.00") for c in columns))
        total = sums[business]
        sums[business] = [total[0] + 1, total[1] + sign * (paid - off), total[2] + sign * off]
        amounts = dict(order_amount=paid, settled_amount=paid - off) if sign > 0 else dict(refund_amount=paid, settled_refund=paid - off)
        note(file, i + 6, ENTRIES[business], at, trade_no=trade, order_no=order, out_refund_no=batch, state=business,
             fee=sign * fee * 1000, seller=SELLER, **amounts)
    (n, x, y), (m, u, v) = sums["交易"], sums["退款"]
    totals = totals or [f"#交易合计：{n}笔，商家实收共{yuan(x)}元，商家优惠共{yuan(y)}元",
                        f"#退款合计：{m}笔，商家实收退款共{yuan(u) if m else '-0.00'}元，商家优惠退款共{yuan(v)}元"]
    content = (ending.join(alipay_frame("业务明细", lines, totals)) + ending).encode(encoding)
    charset = "utf8" if encoding.startswith("utf") else "gb18030"
    keep(file, pack(content), "alipay", "trade", count, charset, packed, warnings)


def alipay_account(file, count, encoding="gb18030", columns=ACCOUNT, pack=lambda content: content, packed="plain", totals=True, blank=False):
    lines, sides, balance = [",".join(columns)], {"in": [0, 0], "out": [0, 0]}, 5_000_000
    types = {"在线支付": ("payment", "in"), "交易退款": ("refund", "out"), "收费": ("fee", "out"), "提现": ("other", "out"), "其它": ("other", "in")}
    for i in range(count):
        business, amount, at = chance.choice(list(types)), chance.randint(1, 90_000), when(chance.randint(0, 86_399))
        entry, side = types[business]
        balance += amount if side == "in" else -amount
        sides[side] = [sides[side][0] + 1, sides[side][1] + amount]
        flow, trade, order = f"5463244653{i:06}", f"20261125220015{i:014}", f"CZ2611{i:06}"
        none = " " if blank else "0.00"
        fields = {"账务流水号": flow + "\t", "业务流水号": trade + "\t", "商户订单号": order + "\t", "商品名称": "储值\t", "发生时间": text(at),
                  "对方账号": "陈(ku***@126.com)\t", "收入金额": yuan(amount) if side == "in" else none,
                  "支出金额": yuan(-amount) if side == "out" else none, "账户余额": yuan(balance), "交易渠道": "支付宝", "业务类型": business,
                  "备注": ""}
        lines.append(",".join(fields[c.split("（")[0].split("(")[0]] for c in columns))
        note(file, i + 6, entry, at, trade_no=trade, order_no=order, seller=SELLER,
             flow="|".join([flow, side, str(amount), str(balance), "", business, ""]))
    (n, x), (m, y) = sides["in"], sides["out"]
    ends = [f"#支出合计：{m}笔，共{yuan(-y)}元", f"#收入合计：{n}笔，共{yuan(x)}元"] if totals else []
    content = ("\r\n".join(alipay_frame("账务明细", lines, ends)) + "\r\n").encode(encoding)
    charset = "utf8" if encoding.startswith("utf") else "gb18030"
    keep(file, pack(content), "alipay", "fundflow", count, charset, packed, 0 if totals else 1)


def main():
    HERE.mkdir(exist_ok=True)
    for old in HERE.iterdir():
        old.unlink()
    short = [c for c in ALL if c not in ("订单金额", "申请退款金额", "费率备注")]
    refund = [c for c in ALL]
    refund[14:14] = REFUNDED
    shuffled = ALL + ["预留字段", "营销活动", "备用"]
    chance.shuffle(shuffled)
    pack = lambda content: gzip.compress(content, mtime=0)
    wechat("wechat_all.csv", short_counts=True)
    wechat("wechat_all_lf_bare.csv", mark="", ending="\n", bom=False)
    wechat("wechat_24.csv", columns=short)
    wechat("wechat_24_old.csv", columns=short, names=OLD, bom=False)
    wechat("wechat_success.csv", states=["SUCCESS"] * 4, columns=[c for c in ALL if c not in OF_REFUNDS])
    wechat("wechat_refund.csv", states=["REFUND"] * 4, columns=refund)
    wechat("wechat_30_shuffled.csv", columns=shuffled, bom=False)
    wechat("wechat_provider.csv", sub=SUB)
    wechat("wechat_empty.csv", states=[])
    wechat("wechat_all.csv.gz", states=["SUCCESS", "REFUND"] * 4, pack=pack, packed="gzip")
    wechat("wechat_members.csv.gz", states=["SUCCESS", "REFUND"] * 4, pack=members, packed="gzip")
    wechat_flow("wechat_flow.csv", 6)
    wechat_flow("wechat_flow_wide.csv", 6, wide=True)
    wechat_flow("wechat_flow.csv.gz", 6, pack=pack, packed="gzip")
    wechat_flow("wechat_flow_empty.csv", 0)
    mixed = [c.replace("（", "(").replace("）", ")") for c in TRADE]
    chance.shuffle(mixed)
    alipay_trade("alipay_gbk.csv", 5, "gbk")
    alipay_trade("alipay_gb18030.csv", 7)
    alipay_trade("alipay_utf8.csv", 5, "utf-8", ending="\n")
    alipay_trade("alipay_utf8_bom.csv", 5, "utf-8-sig", fee_sign=1)
    alipay_trade("alipay_shuffled.csv", 5, columns=mixed + ["商户PID"])
    alipay_trade("alipay_empty.csv", 0)
    alipay_trade("alipay_totals.csv", 3, totals=["#合计：以账务明细为准"], warnings=1)
    alipay_trade("alipay.zip", 7, pack=alipay_zip, packed="zip")
    alipay_trade("alipay_utf8.zip", 5, "utf-8", pack=lambda c: alipay_zip(c, utf8=True), packed="zip")
    alipay_trade("alipay_stored.zip", 5, pack=lambda c: alipay_zip(c, method=zipfile.ZIP_STORED), packed="zip")
    other = ACCOUNT[:]
    chance.shuffle(other)
    alipay_account("alipay_account.csv", 6)
    alipay_account("alipay_account_shuffled.csv", 6, "utf-8", columns=[c.replace("（", "(").replace("）", ")") for c in other], blank=True)
    alipay_account("alipay_account_bare.csv", 4, totals=False)
    alipay_account("alipay_account_empty.csv", 0)
    alipay_account("alipay_account.zip", 6, pack=lambda c: alipay_zip(c, "账务"), packed="zip")
    (HERE / "bills.tsv").write_text("\n".join(bills) + "\n", encoding="utf-8")
    (HERE / "lines.tsv").write_text("\n".join(expected) + "\n", encoding="utf-8")


main()
