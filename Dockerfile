# A small image for machines without a GPU:
#   docker build -t hfkit .
#   docker run --rm -v "$PWD:/work" hfkit finetune quickstart
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 hfkit && mkdir /work && chown hfkit /work
COPY .ci/constraints.txt pyproject.toml README.md LICENSE /src/
COPY hfkit /src/hfkit
COPY recipes /src/recipes
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
        -c /src/constraints.txt "/src[starter]" \
    && rm -rf /src

USER hfkit
WORKDIR /work
ENTRYPOINT ["hfkit"]
CMD ["--help"]
