SELECT n.outcome FROM bench.callbacks c, app.gateway_notify(c.account, c.headers, c.body) n WHERE c.n = (SELECT nextval('bench.next_callback'));
