SELECT * FROM app.v_usage_logs ORDER BY created_at DESC LIMIT 20;
