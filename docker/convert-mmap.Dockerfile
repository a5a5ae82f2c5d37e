# The image of the convert_mmap step. Build it from the repository's root; see docker/README.md.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS packages
ARG LOCK=convert-mmap.lock
COPY requirements/${LOCK} requirements/kfp.lock /locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /venv && \
    /venv/bin/pip install --require-hashes -r /locks/${LOCK} && \
    /venv/bin/pip install --require-hashes --no-deps -r /locks/kfp.lock && \
    /venv/bin/pip uninstall --yes pip setuptools

FROM ${PYTHON}
COPY --from=packages /venv /venv
WORKDIR /app
COPY speech/ speech/
COPY components/__init__.py components/
COPY components/export/ components/export/
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="speechmill convert-mmap" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
CMD ["python", "-m", "components.export.memmapped", "--help"]
