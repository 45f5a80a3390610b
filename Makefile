# make reproduce               train all runs of the protocol quick; write tables, figures, verdicts and report
# make reproduce PROTOCOL=cpu CIFAR10=/folder/with/cifar10 IMAGENET=/folder/with/imagenette   another protocol
# make arena                   compare CLR with other methods at equal budgets for tuning (14 minutes on 2 cores of an AMD EPYC for 366 of its 450 runs); results/arena
# make arena PROTOCOL=cpu CIFAR10=/folder/with/cifar10   the same on natural images (39 minutes for one of the three seeds on 2 cores of an AMD EPYC); results/arena-cpu
# make figures                 redraw the figures from the tables in results/PROTOCOL
# make claims                  judge the claims again, and compare the results with the committed ones
# make report                  write results/PROTOCOL/report.html again
# make test                    all tests except make slurm-test and make browser-test; installs what examples/ and make docs need, TensorBoard and the methods of requirements-arena.txt
# make test-fast               the same without the slow tests
# make slurm-test              tests on a SLURM of two nodes on this host, which it installs (Debian, as root)
# make wandb-sync              upload offline runs to W&B, from a host with internet access
# make browser-test            tests of the report in a headless Chromium, which it installs (Debian, as root)
# make check                   ruff and mypy
# make docs                    the documentation as a site in the folder site, with API pages and search
# make gpu PYTHON=python3 CIFAR10=/folder/with/cifar10   tests, benchmarks and protocol on a GPU, by a Python that has PyTorch, without network
# make wheels PYTHON=python3   collect the packages that make gpu needs in addition to PyTorch
# make bench                   benchmarks; VISION=folder and TIMM=folder are clones of pytorch/vision and of timm's repository
PROTOCOL ?= quick
PYTHON ?= python3
ARGS ?=
STORE ?= runs
WHEELS ?= wheels
PY := .venv/bin/python
# The arena's protocol: arena, or arena-NAME with PROTOCOL=NAME.
ARENA = $(if $(filter quick,$(PROTOCOL)),arena,arena-$(PROTOCOL))
# A dry run of the sweep changes nothing, so nothing is drawn.
DRY_RUN = $(findstring --dry-run,$(ARGS))
# One pytest worker for each core, at most eight; idle workers take tests from the others.
PARALLEL := -n auto --maxprocesses 8 --dist worksteal

.PHONY: reproduce arena figures claims report test test-fast slurm-test browser-test check docs bench gpu wheels wandb-sync \
	clean
reproduce: .venv/ready
	$(PY) sweep.py protocol=$(PROTOCOL) $(if $(CIFAR10),'paths.cifar10=$(CIFAR10)') \
		$(if $(IMAGENET),'paths.imagenet=$(IMAGENET)') $(ARGS)
ifeq (,$(DRY_RUN))
	$(PY) scripts/figures.py results/$(PROTOCOL)
	$(PY) scripts/compare.py results/$(PROTOCOL)
	$(PY) scripts/claims.py results/$(PROTOCOL)
	-$(PY) scripts/publish.py results/$(PROTOCOL)
	$(PY) scripts/report.py results/$(PROTOCOL)
endif

arena: .venv/arena
	$(PY) sweep.py protocol=$(ARENA) $(if $(CIFAR10),'paths.cifar10=$(CIFAR10)') $(ARGS)
ifeq (,$(DRY_RUN))
	$(PY) scripts/arena.py results/$(ARENA)
	$(PY) scripts/figures.py results/$(ARENA)
	$(PY) scripts/report.py results/$(ARENA)
endif

figures: .venv/ready
	$(PY) scripts/figures.py results/$(PROTOCOL)

claims: .venv/ready
	$(PY) scripts/claims.py results/$(PROTOCOL)
	$(PY) scripts/compare.py results/$(PROTOCOL)

report: .venv/ready
	$(PY) scripts/report.py results/$(PROTOCOL)

test: .venv/examples .venv/docs .venv/arena .venv/bench
	$(PY) -m pytest $(PARALLEL)

test-fast: .venv/ready
	$(PY) -m pytest $(PARALLEL) -m 'not slow and not slurm and not browser'

slurm-test: .venv/ready
	command -v slurmctld >/dev/null || { apt-get update -qq && apt-get install -y -qq slurm-wlm munge; }
	$(PY) -m pytest -m slurm tests/sweeps/test_slurm.py

browser-test: .venv/ready
	command -v chromedriver >/dev/null || { apt-get update -qq && apt-get install -y -qq chromium chromium-driver; }
	$(PY) -m pytest -m browser

check: .venv/ready
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --config-file website/mkdocs.yml

bench: .venv/examples .venv/arena .venv/bench
	$(PY) bench/step.py
	$(PY) bench/trainer.py
	$(PY) bench/peers.py $(if $(VISION),--vision '$(VISION)') $(if $(TIMM),--timm '$(TIMM)')
	$(PY) bench/loaders.py
	$(PY) bench/conversion.py
	$(PY) bench/launchers.py
	$(PY) bench/division.py
	$(PY) bench/analysis.py
	$(PY) bench/store.py
	$(PY) bench/options.py
	$(PY) bench/corridor_meter.py
	$(PY) bench/small_maps.py
	$(PY) bench/optimizers.py

gpu: export PYTHONPATH := $(CURDIR):$(CURDIR)/.packages
gpu: $(if $(wildcard $(WHEELS)),.packages)
	$(PYTHON) -m pytest -m gpu tests/training
	$(PYTHON) bench/step.py
	$(PYTHON) bench/trainer.py
	$(PYTHON) bench/options.py
	$(PYTHON) sweep.py protocol=gpu train.wandb.mode=disabled $(if $(CIFAR10),'paths.cifar10=$(CIFAR10)') \
		$(if $(IMAGENET),'paths.imagenet=$(IMAGENET)',figure=2,4,5,6,8,9 '~protocol.tasks.imagenet') $(ARGS)
	$(PYTHON) scripts/figures.py results/gpu
	$(PYTHON) scripts/claims.py results/gpu
	$(PYTHON) scripts/report.py results/gpu

# Beside a Python that has PyTorch: nothing outside of this folder changes.
.packages:
	$(PYTHON) -m pip install --quiet --no-index --no-deps --target .packages $(WHEELS)/*.whl

wheels:
	grep -v '^torch' requirements.txt | $(PYTHON) -m pip wheel --quiet --wheel-dir $(WHEELS) -r /dev/stdin

wandb-sync: .venv/ready
	find $(STORE) -type d -name 'offline-run-*' | xargs -r .venv/bin/wandb sync --yes $(ARGS)

clean:
	rm -rf .venv .packages runs site

.venv/ready: requirements.txt requirements-ffcv.txt scripts/setup.sh
	PYTHON=$(PYTHON) bash scripts/setup.sh

# The frameworks of examples/, Jupyter and TensorBoard: about 250 MB, in a minute.
.venv/examples: .venv/ready requirements-examples.txt requirements-tensorboard.txt
	.venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt \
		-r requirements-examples.txt -r requirements-tensorboard.txt
	touch .venv/examples

# Methods that CLR is compared with: less than 1 MB.
.venv/arena: .venv/ready requirements-arena.txt
	.venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-arena.txt
	touch .venv/arena

# Programs that make bench compares with: about 4 MB.
.venv/bench: .venv/ready requirements-bench.txt
	.venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-bench.txt
	touch .venv/bench

# mkdocs and the checks of the release's metadata: about 40 MB.
.venv/docs: .venv/ready requirements-docs.txt
	.venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-docs.txt
	touch .venv/docs
