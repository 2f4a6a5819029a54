UPDATE twin.personal_cards SET balance = balance - 1 WHERE id = (SELECT card_id FROM bench.codes WHERE n = 1);
