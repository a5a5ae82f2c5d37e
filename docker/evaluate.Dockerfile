# The image of the evaluate step. Build it from the repository's root; see docker/README.md.
ARG PYTHON=python:3.11-slim-bookworm
ARG PYTHON39=python:3.9-slim-bookworm
# evaluate-ds-ctcdecoder: with DeepSpeech's ds_ctcdecoder in a Python 3.9 beside the step's own
ARG IMAGE=evaluate

FROM ${PYTHON} AS packages
ARG LOCK=evaluate.lock
COPY requirements/${LOCK} requirements/kfp.lock /locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /venv && \
    /venv/bin/pip install --require-hashes -r /locks/${LOCK} && \
    /venv/bin/pip install --require-hashes --no-deps -r /locks/kfp.lock && \
    /venv/bin/pip uninstall --yes pip setuptools

# The decoder's library: C++ and nothing else.
FROM ${PYTHON} AS decoder
# Versions are not pinned: Debian keeps only the newest build of a package.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install --yes --no-install-recommends g++ libc6-dev && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY speech/__init__.py speech/errors.py speech/
COPY speech/native/ speech/native/
COPY speech/decoding/ speech/decoding/
RUN python -m speech.decoding --output /library

FROM ${PYTHON} AS evaluate
COPY --from=packages /venv /venv
WORKDIR /app
COPY speech/ speech/
COPY --from=decoder /library/ speech/decoding/cpp/
COPY components/__init__.py components/
COPY components/evaluate/ components/evaluate/
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=3
LABEL org.opencontainers.image.licenses="Apache-2.0"

FROM ${PYTHON39} AS ds-ctcdecoder
COPY requirements/ds-ctcdecoder.lock /locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3.9 -m pip install --require-hashes --only-binary :all: -r /locks/ds-ctcdecoder.lock && \
    python3.9 -m pip uninstall --yes pip setuptools wheel

# An interpreter of another version shares no file name with the step's own, and is found as python3.9. The package is
# MPL-2.0, the KenLM in it LGPL-2.1.
FROM evaluate AS evaluate-ds-ctcdecoder
COPY --from=ds-ctcdecoder /usr/local/bin/python3.9 /usr/local/bin/
COPY --from=ds-ctcdecoder /usr/local/lib/libpython3.9.so.1.0 /usr/local/lib/
COPY --from=ds-ctcdecoder /usr/local/lib/python3.9/ /usr/local/lib/python3.9/
RUN ldconfig
LABEL org.opencontainers.image.licenses="Apache-2.0 AND MPL-2.0 AND LGPL-2.1-only"

FROM ${IMAGE}
ARG IMAGE
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="speechmill ${IMAGE}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}"
USER 65532:65532
CMD ["python", "-m", "components.evaluate", "--help"]
