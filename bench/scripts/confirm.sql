SELECT n.status FROM bench.callbacks c, app.confirm_recharge(c.tx_no, 10.00, 'T' || c.tx_no) n WHERE c.n = (SELECT nextval('bench.next_callback'));
