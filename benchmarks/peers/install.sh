#!/bin/sh
# Environments of the peers under $1, one each, CPU builds of torch. FuxiCTR's wheel lacks its models: fuxi_src holds `model_zoo` of its repository.
set -e
mkdir -p "$1" && cd "$1"
for name in recbole rechub deepctr fuxi; do [ -d "$name" ] || python3.11 -m venv "$name"; done
recbole/bin/pip install --no-deps recbole==1.2.1
recbole/bin/pip install torch==2.13.0 "setuptools<81" "numpy<2" "pandas<2.3" scipy==1.10.1 scikit-learn tqdm colorlog==4.7.2 colorama==0.4.4 \
    pyyaml tensorboard thop tabulate plotly texttable psutil hyperopt
recbole/bin/pip install --no-deps ray
rechub/bin/pip install torch-rechub==0.9.0 torch==2.13.0
deepctr/bin/pip install deepctr-torch==0.3.0 torch==2.13.0 requests setuptools
fuxi/bin/pip install torch==2.13.0 "numpy<2" "pandas<2.3" keras_preprocessing "polars<2" "pyarrow<18" scikit-learn PyYAML h5py tqdm ray
fuxi/bin/pip install --no-deps fuxictr==2.3.10
[ -d fuxi_src ] || git clone --depth 1 https://github.com/reczoo/FuxiCTR fuxi_src
