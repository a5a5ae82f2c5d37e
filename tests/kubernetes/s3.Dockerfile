# An S3 server for the tests in a cluster.
ARG PYTHON=python:3.11-slim-bookworm
FROM ${PYTHON}
ARG MOTO
RUN --mount=type=cache,target=/root/.cache/pip pip install "moto[server,s3]==${MOTO}"
USER 65532:65532
CMD ["moto_server", "--host", "0.0.0.0", "--port", "9000"]
