SELECT pawl.enqueue_workflow('nobody_runs_this', '{"order": 12345}');
