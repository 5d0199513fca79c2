"""A finished adapter for others: its model card, its upload to the hub, and its evaluations in
shared formats.

`model_card` and `readme` make the card, `package` and `hub` the upload, `every_eval_ever` and
`lm_eval_files` the formats, which need no huggingface_hub. Nothing is uploaded unless `hub.upload`
is called, and no sample or data row unless that is asked for.
"""
