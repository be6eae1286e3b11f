"""What a task decides: targets, loss, metrics. The rest of cnnkit does not know which task it runs."""
