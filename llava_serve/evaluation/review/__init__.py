"""Review of two models' answers by a judge that scores both, as LLaVA-Bench does."""
