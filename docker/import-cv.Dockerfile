# The image of the import-cv step. Build it from the repository's root; see docker/README.md.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS packages
ARG LOCK=import-cv.lock
COPY requirements/${LOCK} requirements/kfp.lock /locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /venv && \
    /venv/bin/pip install --require-hashes -r /locks/${LOCK} && \
    /venv/bin/pip install --require-hashes --no-deps -r /locks/kfp.lock && \
    /venv/bin/pip uninstall --yes pip setuptools

FROM ${PYTHON}
# SYSTEM_PACKAGES=ffmpeg for corpora with clips that libsndfile does not read, such as M4A or WebM
ARG SYSTEM_PACKAGES=""
# Versions are not pinned: Debian keeps only the newest build of a package.
# hadolint ignore=DL3008
RUN if [ -n "${SYSTEM_PACKAGES}" ]; then \
        apt-get update && apt-get install -y --no-install-recommends ${SYSTEM_PACKAGES} && \
        rm -rf /var/lib/apt/lists/*; \
    fi
COPY --from=packages /venv /venv
WORKDIR /app
COPY speech/ speech/
COPY components/__init__.py components/
COPY components/import_cv/ components/import_cv/
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="speechmill import-cv" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
CMD ["python", "-m", "components.import_cv", "--help"]
