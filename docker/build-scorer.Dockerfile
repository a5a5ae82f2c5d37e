# The image of the build_scorer step. Build it from the repository's root; see docker/README.md.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS packages
ARG LOCK=build-scorer.lock
COPY requirements/${LOCK} requirements/kfp.lock /locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /venv && \
    /venv/bin/pip install --require-hashes -r /locks/${LOCK} && \
    /venv/bin/pip install --require-hashes --no-deps -r /locks/kfp.lock && \
    /venv/bin/pip uninstall --yes pip setuptools

# KenLM (LGPL-2.1): lmplz, filter and build_binary, run as programs.
FROM ${PYTHON} AS kenlm
# Versions are not pinned: Debian keeps only the newest build of a package.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install --yes --no-install-recommends g++ make cmake libboost-program-options-dev libboost-system-dev \
        libboost-thread-dev libboost-test-dev zlib1g-dev libbz2-dev liblzma-dev && \
    rm -rf /var/lib/apt/lists/*
COPY components/build_scorer/build_kenlm.sh /
RUN --mount=type=cache,target=/root/.cache/pip JOBS=$(nproc) /build_kenlm.sh /kenlm

FROM ${PYTHON}
COPY --from=kenlm /kenlm/bin/ /usr/local/bin/
COPY --from=packages /venv /venv
WORKDIR /app
COPY speech/ speech/
COPY components/__init__.py components/
COPY components/build_scorer/ components/build_scorer/
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="speechmill build-scorer" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0 AND LGPL-2.1-only"
USER 65532:65532
CMD ["python", "-m", "components.build_scorer", "--help"]
