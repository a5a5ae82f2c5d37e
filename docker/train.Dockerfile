# The image of the train step. Build it from the repository's root; see docker/README.md.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS packages
ARG LOCK=train.lock
COPY requirements/${LOCK} requirements/kfp.lock /locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /venv && \
    /venv/bin/pip install --require-hashes -r /locks/${LOCK} && \
    /venv/bin/pip install --require-hashes --no-deps -r /locks/kfp.lock && \
    /venv/bin/pip uninstall --yes pip setuptools

# The LSTM's operators: C++, linked with this TensorFlow; for x86-64, otherwise the folder stays empty.
FROM packages AS lstm
# Versions are not pinned: Debian keeps only the newest build of a package.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install --yes --no-install-recommends g++ libc6-dev && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY speech/__init__.py speech/errors.py speech/
COPY speech/native/ speech/native/
COPY speech/nn/__init__.py speech/nn/
COPY speech/nn/recurrent/__init__.py speech/nn/recurrent/__main__.py speech/nn/recurrent/recurrence.py speech/nn/recurrent/
COPY speech/nn/recurrent/cpp/ speech/nn/recurrent/cpp/
RUN mkdir /library && /venv/bin/python -m speech.nn.recurrent --output /library

FROM ${PYTHON}
COPY --from=packages /venv /venv
WORKDIR /app
COPY speech/ speech/
COPY --from=lstm /library/ speech/nn/recurrent/cpp/
COPY components/__init__.py components/
COPY components/train/ components/train/
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=3
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="speechmill train" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
CMD ["python", "-m", "components.train", "--help"]
