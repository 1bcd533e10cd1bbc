"""training: domain adaptation of a base model, fine-tuning, and the baselines (SPEC M, T, E4).

Rooms, each of which imports only those before it: `loop`, `adaptation`; then the trainings
themselves (`pretraining`, `classification`, `finetuning`) and what they put on the encoder
(`modules`); `planning`, `baselines`, `generation`.
"""
