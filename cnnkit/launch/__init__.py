"""Several processes that train one network together: started, watched, and started again."""
